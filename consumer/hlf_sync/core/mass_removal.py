"""The mass change guard: how many more removals may be called before an operator has to say yes
(requirement R11).

A broken view, a TRUNCATE or a wrong batch job would make every mentor look gone. Only removals of
mentors the ledger says are listed count: the first delivery of a mentor of whom nothing is known
takes nobody off the listing that anybody knew of. Called by postgres/ledger.
"""

from dataclasses import dataclass

_ROUNDING = 1e-9  # 0.29 * 100 is 28.999…, and 29 may go


@dataclass(frozen=True, slots=True)
class MassRemovalPolicy:
    """At most max(`minimum`, `ratio` × listed) removals within `window_s` seconds; `ratio` 0
    switches the guard off.
    """

    ratio: float = 0.1
    minimum: int = 20
    window_s: float = 600.0

    @property
    def is_on(self) -> bool:
        """Whether removals are counted at all."""
        return self.ratio > 0


def removals_allowed(policy: MassRemovalPolicy, *, removed: int, listed: int) -> int:
    """How many more may go: `removed` within the window so far, `listed` still shown (together what
    was shown when the window began).
    """
    return max(0, max(policy.minimum, int(policy.ratio * (listed + removed) + _ROUNDING)) - removed)
