"""How a replay goes out: one letter, then ten, then all, at a bounded rate, and no further once too
many fail. Pure; `now_s` is monotonic seconds.

Called by the replay room for each turn of its loop. The canary protects from replaying everything
into a fault that is still there; the window in flight keeps the queue of live changes short.
"""

from collections import deque
from dataclasses import dataclass, field

CANARIES = (1, 10)
"""Sizes of the stages before 'all'. The next one begins when every letter of the one before has ended."""

_JUDGED = 20
"""Outcomes that the failure ratio looks at: the last ones, so that a fault that begins late is seen."""

_LEAST_WINDOW = 10
_WINDOW_S = 5.0
"""Requests in flight: what the rate lets through in this time. A live change waits behind no more than that."""


@dataclass(frozen=True, slots=True)
class RolloutPolicy:
    """`rate_per_s` requests per second; more than `failure_ratio` of the last outcomes ends it."""

    rate_per_s: float
    failure_ratio: float

    @property
    def window(self) -> int:
        """Most requests in flight."""
        return max(_LEAST_WINDOW, int(self.rate_per_s * _WINDOW_S))


@dataclass(slots=True)
class Rollout:
    """One run over `total` letters. Mutable; a run that was killed begins anew with its canary."""

    policy: RolloutPolicy
    total: int
    asked: int = 0
    ended: int = 0
    failed: int = 0
    _next_at_s: float = float("-inf")
    _recent: deque[bool] = field(default_factory=lambda: deque(maxlen=_JUDGED))

    @property
    def stage(self) -> str:
        """Which stage it is in, for people."""
        first, second = CANARIES
        if self.limit == min(first, self.total):
            return "canary of 1"
        return f"canary of {second}" if self.limit == first + second else "all"

    @property
    def limit(self) -> int:
        """How many may have been asked for by now."""
        limit = 0
        for size in CANARIES:
            limit += size
            if self.ended < min(limit, self.total):
                return min(limit, self.total)
        return self.total

    @property
    def is_done(self) -> bool:
        """Whether every letter has ended."""
        return self.ended >= self.total

    def room(self, now_s: float) -> int:
        """How many letters may be asked for now."""
        if self.trouble is not None:
            return 0
        open_places = min(self.limit - self.asked, self.policy.window - (self.asked - self.ended))
        if open_places <= 0 or now_s < self._next_at_s:
            return 0
        behind_s = min(now_s - self._next_at_s, 1.0)
        return min(open_places, 1 + int(behind_s * self.policy.rate_per_s))

    def took(self, count: int, now_s: float) -> None:
        """So many were asked for."""
        self.asked += count
        self._next_at_s = max(self._next_at_s, now_s - 1.0) + count / self.policy.rate_per_s

    def end(self, *, is_failure: bool) -> None:
        """One letter has ended."""
        self.ended += 1
        self.failed += is_failure
        self._recent.append(is_failure)

    @property
    def trouble(self) -> str | None:
        """Why it must not go on; None while it may. A canary of one that failed is one failure too
        many.
        """
        failures, seen = sum(self._recent), len(self._recent)
        if failures and (
            self.ended <= 1
            or failures > self.policy.failure_ratio * max(seen, min(CANARIES[1], self.total))
        ):
            return (
                f"{failures} of the last {seen} letters failed again"
                if seen > 1
                else "the first letter failed again"
            )
        return None
