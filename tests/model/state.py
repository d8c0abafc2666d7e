"""The states of the model: small, immutable, comparable. Used by protocol.py (which steps there
are) and search.py (all interleavings of them).

Time is not a number here. What time decides is a step that may come as soon as it is allowed: a
lease ends, doubt passes, a late effect comes or never will. Generations are not numbers either: a
claim is current until somebody else claims, which is all that anybody ever asks of them.
"""

from enum import IntEnum
from typing import NamedTuple


class Phase(IntEnum):
    """Where a mentor's core/evaluation.Evaluation is in one worker. JOB: it has decided, and waits for
    its claim; HELD: claimed, and the second look holds.
    """

    WAITING = 0
    JOB = 1
    CLAIMED = 2
    HELD = 3
    AIR = 4
    OK = 5
    LATE = 6
    RELEASING = 7
    SETTLING = 8  # no call, and the ledger must still learn something
    SENDING = 9  # stands still between its last look at the clock and its first byte


class Entry(NamedTuple):
    """One mentor in one worker. `changes` and `newer` are places in the log; `is_past`: no older
    call can take effect after this claim; `is_farewell`: `contact` is a former one.
    """

    phase: Phase
    changes: tuple[int, ...]
    newer: tuple[int, ...] = ()
    wanted: bool = False
    is_current: bool = True
    is_past: bool = True
    contact: int = 0
    is_farewell: bool = False
    # of the row that it has decided on: intent, contacts in doubt, whether older calls may come late
    before: bool | None = None
    before_contacts: tuple[int, ...] = ()
    was_doubtful: bool = False


class Worker(NamedTuple):
    """`read` counts the log's records that it has fetched; `entries` has a place per mentor."""

    entries: tuple[Entry | None, ...]
    read: int = 0
    is_frozen: bool = False


DEAD = 2
"""Holds a lease and is no more."""


class Row(NamedTuple):
    """The ledger's row of a mentor: consumer/hlf_sync/postgres/migrations/0001_ledger.sql."""

    applied: bool
    intended: bool | None = None
    owner: int | None = None
    is_lease_over: bool = False
    is_doubtful: bool = False  # doubt_until has not passed
    is_due: bool = False  # reevaluate_at, when doubt_until has passed
    is_soon: bool = False  # reevaluate_at, now
    about: int = 0  # contact_id
    doubtful: tuple[int, ...] = ()  # doubtful_contacts
    hidden: tuple[int, ...] = ()  # hidden_meanwhile


class Mentor(NamedTuple):
    """Facts and CRM: what it shows of each contact that was ever mapped; the last one is. `unseen`
    is a commit that is streamed and that no snapshot shows yet.
    """

    facts: bool
    shown: tuple[bool, ...]
    unseen: bool | None = None

    @property
    def mapped(self) -> int:
        return len(self.shown) - 1


class Budget(NamedTuple):
    """How often the world may still interfere."""

    writes: tuple[int, ...]
    invisible: int = 0
    crashes: int = 0
    freezes: int = 0
    losses: int = 0
    moves: int = 0
    replays: int = 0
    stalls: int = 0
    distrusts: int = 0
    remaps: int = 0


class State(NamedTuple):
    """Everything. The log begins at the committed offset; a record is its mentor and whether its
    transaction is visible.
    """

    mentors: tuple[Mentor, ...]
    rows: tuple[Row, ...]
    log: tuple[tuple[int, bool], ...]
    workers: tuple[Worker, ...]
    member: int  # which worker owns the partition
    # calls that may still take effect though nobody waits for them: mentor, contact, value
    late: tuple[tuple[int, int, bool], ...]
    budget: Budget


def beginning(budget: Budget) -> State:
    """Everybody is shown, nothing is under way."""
    count = len(budget.writes)
    nobody = (None,) * count
    return State(
        (Mentor(True, (True,)),) * count,
        (Row(True),) * count,
        (),
        (Worker(nobody), Worker(nobody)),
        0,
        (),
        budget,
    )


def canonical(state: State) -> State:
    """The same state with the workers numbered so that the partition's owner is the first."""
    if state.member == 0:
        return state
    first, second = state.workers
    rows = tuple(
        row._replace(owner=1 - row.owner) if row.owner in {0, 1} else row for row in state.rows
    )
    return state._replace(workers=(second, first), member=0, rows=rows)
