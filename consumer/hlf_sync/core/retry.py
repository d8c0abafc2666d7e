"""Backoff: when a mentor whose delivery failed is looked at again. Exponential, with jitter,
within a deadline (requirement R27).

Pure; called by `outcome.conclude`. A deployment's numbers: config/settings.py, `retry_…`. A retry is
a due time in the mentor queue, never a sleep. Waits without jitter are base · 2^(attempt − 1), at
most `max_delay_s`; with the defaults 2, 4, 8, 16, 16, … seconds.
"""

from dataclasses import dataclass

_MAX_DOUBLINGS = 64  # beyond any useful wait, and far from where a float overflows (attempt 1,025)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently. `deadline_s` bounds what attempts and our own waits of one
    delivery take together.
    """

    max_attempts: int = 3
    base_delay_s: float = 2.0
    max_delay_s: float = 16.0
    jitter_s: float = 0.5
    deadline_s: float = 45.0


DEFAULT = RetryPolicy()
FAST = RetryPolicy(base_delay_s=1.0, max_delay_s=4.0)


def next_delay(
    policy: RetryPolicy,
    attempt_number: int,
    *,
    retry_after_s: float | None,
    random: float,
    elapsed_s: float,
) -> float | None:
    """Seconds until the attempt after `attempt_number` (1 or more, just failed); None when it was
    the last one.

    `random` lies in [0, 1). `elapsed_s` is what this delivery's attempts and our own waits took so
    far. The server's `retry_after_s` is a lower bound and may reach past the deadline: who is told
    to wait does not give up because of it.
    """
    if attempt_number >= policy.max_attempts:
        return None
    delay_s = min(policy.max_delay_s, backoff(policy, attempt_number) + policy.jitter_s * random)
    if elapsed_s + delay_s > policy.deadline_s:
        return None
    return max(delay_s, retry_after_s or 0.0)


def backoff(policy: RetryPolicy, attempt_number: int) -> float:
    """The wait after this attempt without jitter, seconds."""
    doublings = min(max(attempt_number - 1, 0), _MAX_DOUBLINGS)
    return min(policy.max_delay_s, policy.base_delay_s * 2.0**doublings)
