"""Read your own event: is a change's transaction visible in the snapshot that the facts were read
with?

A committed transaction can be streamed before it leaves PostgreSQL's list of running ones; facts
read in between are old, and a decision on them would lose the change. Sequence of events and
sources: docs/adr/0001-level-triggered.md. Pure arithmetic, called by the pipeline.
"""

from dataclasses import dataclass
from enum import StrEnum

_WRAP = 1 << 32
_HALF = 1 << 31


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`pg_current_snapshot()`: 64-bit transaction ids; `xmax` is the latest completed one + 1,
    `running` those below it still open.
    """

    xmin: int
    xmax: int
    running: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, text: str) -> "Snapshot":
        """Read PostgreSQL's text form `xmin:xmax:xip,xip`."""
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(int(xid) for xid in running.split(",") if xid))

    def widen(self, transaction_id: int) -> int:
        """The 64-bit id that a 32-bit one stands for: the one nearest to `xmax`, since ids wrap."""
        behind = (transaction_id - self.xmax) % _WRAP
        return self.xmax + (behind - _WRAP if behind >= _HALF else behind)

    def shows(self, transaction_id: int) -> bool:
        """Whether the effects of a committed transaction with this 32-bit id are in what the
        snapshot read.
        """
        full = self.widen(transaction_id)
        return full < self.xmax and full not in self.running


class Fate(StrEnum):
    """What PostgreSQL knows of a transaction that stays invisible (`pg_xact_status`)."""

    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class VisibilityPolicy:
    """How to wait for a transaction: the next look after `first_s`, doubling to `longest_s`; after
    `patience_s` ask for its fate.
    """

    first_s: float = 0.005
    longest_s: float = 0.25
    patience_s: float = 10.0

    def wait_s(self, looks: int) -> float:
        """How long to wait after `looks` looks (1 or more) that did not show the transaction."""
        return min(self.longest_s, self.first_s * 2.0 ** min(looks - 1, 16))
