"""How long to wait before a client that failed is made anew. Pure; called by the consumer thread.

A short fault (a right that was taken away and given back) must not cost half a minute, and a lasting
one must not cost the group a rebalance each second.
"""

from dataclasses import dataclass

_FIRST_S = 1.0
_LONGEST_S = 30.0
# A client that lived so long was well: what fails it now is something new.
_WELL_S = 60.0


@dataclass(slots=True)
class Rebuilding:
    """`failures` in a row."""

    failures: int = 0

    def wait_s(self, lived_s: float) -> float:
        """Count one more failure of a client that lived so long; the pause before the next one."""
        self.failures = 1 if lived_s >= _WELL_S else self.failures + 1
        doublings = min(self.failures - 1, 10)
        return min(_LONGEST_S, _FIRST_S * float(1 << doublings))
