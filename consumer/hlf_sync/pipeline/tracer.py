"""What the pipeline tells of a mentor's way, as a protocol; the tracing room implements it. While
tracing is off it is told to `NoTracer`.

Called on the event loop only; must never raise for what it is told, nor wait. `began_ns` is what
`now_ns` said when the stage began.
"""

from collections.abc import Callable
from typing import Protocol

from hlf_sync.core.dead_letter import DeadLetter
from hlf_sync.core.evaluation import Evaluation
from hlf_sync.core.model import Change, MentorId, Record


class Tracer(Protocol):
    """One trace per delivery: it begins with the change's commit, and ends with its outcome."""

    def now_ns(self) -> int:
        """Epoch nanoseconds."""
        ...

    def mark(self, change: Change, record: Record) -> Change:
        """The change, with what its trace must know of its record."""
        ...

    def looked(self, evaluation: Evaluation, began_ns: int) -> None:
        """The first look has decided; the mentor's trace begins here, or goes on."""
        ...

    def trace_parent(self, mentor_id: MentorId) -> str | None:
        """What the ledger keeps, so that others can go on with the trace."""
        ...

    def claimed(self, evaluation: Evaluation, began_ns: int) -> None:
        """Claimed, and looked at once more."""
        ...

    def called(self, evaluation: Evaluation, began_ns: int) -> None:
        """A call was answered, or was not."""
        ...

    def lettered(self, letter: DeadLetter, began_ns: int) -> None:
        """A letter was acknowledged."""
        ...

    def recorded(self, mentor_id: MentorId, began_ns: int, *, is_recorded: bool) -> None:
        """What came of it is durable; or the lease was lost."""
        ...

    def waits(self, mentor_id: MentorId) -> None:
        """No outcome yet: the mentor is looked at again later."""
        ...

    def ended(self, mentor_id: MentorId, outcome: str) -> None:
        """The delivery is over here."""
        ...

    def left(self, is_here: Callable[[MentorId], bool]) -> None:
        """What is no longer here has gone to another worker."""
        ...


class NoTracer:
    """Tells nobody, at no cost: `Tracer` while tracing is off."""

    def now_ns(self) -> int:
        """Nobody asks for it."""
        return 0

    def mark(self, change: Change, record: Record) -> Change:
        """The change as it is."""
        del record
        return change

    def looked(self, evaluation: Evaluation, began_ns: int) -> None:
        """Nothing."""

    def trace_parent(self, mentor_id: MentorId) -> str | None:
        """None: the ledger keeps no trace."""
        del mentor_id
        return None

    def claimed(self, evaluation: Evaluation, began_ns: int) -> None:
        """Nothing."""

    def called(self, evaluation: Evaluation, began_ns: int) -> None:
        """Nothing."""

    def lettered(self, letter: DeadLetter, began_ns: int) -> None:
        """Nothing."""

    def recorded(self, mentor_id: MentorId, began_ns: int, *, is_recorded: bool) -> None:
        """Nothing."""

    def waits(self, mentor_id: MentorId) -> None:
        """Nothing."""

    def ended(self, mentor_id: MentorId, outcome: str) -> None:
        """Nothing."""

    def left(self, is_here: Callable[[MentorId], bool]) -> None:
        """Nothing."""
