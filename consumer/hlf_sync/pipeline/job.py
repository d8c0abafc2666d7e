"""A mentor that needs a call, on its way from screening to delivery; and why it is looked at."""

from dataclasses import dataclass

from hlf_sync.core.mentor_queue import Entry
from hlf_sync.core.model import Command, Trigger
from hlf_sync.ports import Known

REQUESTS = frozenset({Trigger.MANUAL, Trigger.EXPIRY, Trigger.RECONCILIATION, Trigger.REPLAY})


@dataclass(slots=True)
class Job:
    """What the first look knew. `order` is the mentor's age in the queue, `decided_s` when the
    decision was made (monotonic).
    """

    entry: Entry
    known: Known
    command: Command
    order: int
    decided_s: float

    def __lt__(self, other: "Job") -> bool:
        return self.order < other.order


def cause(entry: Entry) -> Trigger:
    """Why the mentor is looked at (R09): the newest request if somebody asked, else the newest row
    change.
    """
    triggers = [change.trigger for change in entry.changes]
    return next(
        (t for t in reversed(triggers) if t in REQUESTS),
        triggers[-1] if triggers else Trigger.RECONCILIATION,
    )
