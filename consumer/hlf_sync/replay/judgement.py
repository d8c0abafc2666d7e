"""What may be done about a dead letter: due, superseded, duplicate, or a matter for a person; each
with its reason, calls and time.

Pure; called by the replay room for the plan, right before each request, and to tell what came of
it. A letter is never applied: it names a mentor, and what is due for the mentor is decided from the
facts of now. So nothing here looks at the operation that once failed.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, assert_never

from hlf_sync.core.dead_letter import DeadLetter
from hlf_sync.core.model import (
    Command,
    Decision,
    LedgerRow,
    LedgerState,
    LetterKind,
    MentorId,
    NoCall,
    Refuse,
)
from hlf_sync.core.plural import counted

UNREADABLE = "unreadable"
"""The kind of what lies in the topic and is not a letter."""

_ROUND_TRIP_S = 1.0
"""From a request to its outcome in the ledger, when nothing else waits."""

_UNSETTLED = frozenset({LedgerState.DEAD_LETTERED, LedgerState.PENDING, LedgerState.IN_DOUBT})


class ReplayVerdict(StrEnum):
    """What follows for a letter."""

    DUE = "due"
    SUPERSEDED = "superseded"
    DUPLICATE = "duplicate"
    INVESTIGATE = "investigate"


class Letter(NamedTuple):
    """As much of a letter as a verdict needs, and where it lies in the dead-letter topic. `kind` is
    None where the bytes are not a letter.
    """

    partition: int
    offset: int
    id: str
    kind: LetterKind | None
    error_code: str
    created_at_ms: int
    mentor_id: MentorId | None = None
    generation: int | None = None
    attempt_count: int = 0

    @property
    def kind_word(self) -> str:
        """The kind for people and files."""
        return UNREADABLE if self.kind is None else self.kind.value


@dataclass(frozen=True, slots=True)
class LetterStanding:
    """Where a letter's mentor stands now, all of it from one snapshot. `delivered_at_s`: when the
    mentor's last successful call began.
    """

    ledger: LedgerRow
    decision: Decision
    has_contact: bool
    delivered_at_s: float | None = None


@dataclass(frozen=True, slots=True)
class Closing:
    """A person's word that nothing is left to do about a letter."""

    closed_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its reason for people, and the calls that applying costs."""

    verdict: ReplayVerdict
    reason: str
    calls: int = 0

    @property
    def is_resolved(self) -> bool:
        """Whether nothing is left to do, so that the replay group's offset may pass. Asked of
        letters judged by themselves, never of duplicates.
        """
        return self.verdict is ReplayVerdict.SUPERSEDED


class LetterFate(StrEnum):
    """What came of a letter that was asked for."""

    DELIVERED = "delivered"
    FAILED = "failed"  # a newer letter of the mentor says so
    RETURNED = "returned"  # the facts changed under way: a matter for a person again
    WAITING = "waiting"


def letter_of(found: DeadLetter, partition: int, offset: int) -> Letter:
    """What is needed of a decoded letter."""
    return Letter(
        partition,
        offset,
        found.id,
        found.kind,
        found.error_code,
        found.created_at_ms,
        found.mentor_id,
        found.generation,
        found.attempt_count,
    )


def judge(
    letter: Letter,
    standing: LetterStanding | None,
    closing: Closing | None,
    *,
    is_repaired: bool = False,
) -> Judgement:
    """Judge one letter by itself. `standing` is None for a letter without a mentor.

    `is_repaired` is an operator's word that what Dynamics refused has been repaired there.
    """
    if closing is not None:
        return _superseded(f"closed by {closing.closed_by}: {closing.reason}")
    if letter.kind is None:
        return _investigate("this is not a letter: somebody else wrote to the topic")
    if standing is None or letter.generation is None:
        return _judge_record(letter, standing)
    if not is_open(letter, standing.ledger):
        return _superseded(_why_superseded(letter, standing))
    return _judge_open(letter, letter.kind, standing, is_repaired=is_repaired)


def is_open(letter: Letter, ledger: LedgerRow) -> bool:
    """Whether the mentor still owes what this letter is about.

    A generation ahead of the ledger: acknowledged and not recorded yet, or the ledger was restored
    from a backup. The same generation in flight: acknowledged, and the worker died before recording
    it.
    """
    generation = letter.generation or 0
    if generation > ledger.generation:
        return True
    is_unsettled = ledger.state in _UNSETTLED
    if ledger.dead_letter_id is not None:
        return is_unsettled and ledger.dead_letter_id == letter.id
    return is_unsettled and ledger.generation == generation


def fate(letter: Letter, standing: LetterStanding, *, asked_on: int) -> LetterFate:
    """What came of a letter that was asked for. `asked_on` is the ledger's generation at that time.

    A letter that ran ahead of the ledger can fail under its own id again: then the ledger names it,
    and did not when it was asked for. The generation alone proves nothing: a claim that is given
    back without a call raises it too.
    """
    ledger = standing.ledger
    is_at_rest = ledger.state is LedgerState.DEAD_LETTERED
    if not is_open(letter, ledger):
        return LetterFate.FAILED if is_at_rest else LetterFate.DELIVERED
    if is_at_rest and ledger.dead_letter_id == letter.id and asked_on < (letter.generation or 0):
        return LetterFate.FAILED
    verdict = judge(letter, standing, None, is_repaired=True).verdict
    if verdict is ReplayVerdict.SUPERSEDED:
        return LetterFate.DELIVERED
    return (
        LetterFate.RETURNED
        if verdict is ReplayVerdict.INVESTIGATE and is_at_rest
        else LetterFate.WAITING
    )


def resolved_up_to(start: int, end: int, unresolved: int | None) -> int:
    """The position to commit for a partition: the first unresolved letter, or the end that was read
    to; never a step back.
    """
    return max(start, end if unresolved is None else unresolved)


def seconds_needed(calls: int, rate_per_s: float, pace_per_s: float) -> float:
    """How long `calls` take when nothing else is to be delivered: their number at the rate, and the
    ways there and back of the canaries.
    """
    stages = 0 if calls == 0 else 1 + sum(calls > limit for limit in (1, 11))
    return round(calls / min(rate_per_s, pace_per_s) + stages * _ROUND_TRIP_S, 1)


def retry_at_s(created_at_s: float, replays: int, *, settle_s: float, longest_s: float) -> float:
    """When `watch` may ask for an exhausted letter: it doubles with each replay of the mentor that
    was tried before, so that no mentor goes round.
    """
    wait_s = min(settle_s * 2.0 ** min(replays, 30), max(longest_s, settle_s))
    return created_at_s + wait_s


def _judge_record(letter: Letter, standing: LetterStanding | None) -> Judgement:
    """A record that could not be read; its key may have named a mentor."""
    if standing is None:
        return _investigate(
            f"a record that cannot be read ({letter.error_code}) and names no mentor"
        )
    if (
        standing.delivered_at_s is not None
        and standing.delivered_at_s * 1000 > letter.created_at_ms
    ):
        return _superseded("the mentor that its key names was delivered since")
    return _investigate(
        f"a record that cannot be read ({letter.error_code}); its key names the mentor"
    )


def _judge_open(
    letter: Letter, kind: LetterKind, standing: LetterStanding, *, is_repaired: bool
) -> Judgement:
    decision = standing.decision
    match decision:
        case Refuse(error_code):
            return _investigate(
                f"the mentor's facts lie outside the contract ({error_code}): repair them in the"
                " application"
            )
        case NoCall() if standing.ledger.state not in _UNSETTLED:
            return _superseded(f"nothing is due for the mentor ({decision.reason})")
        case NoCall():
            return Judgement(
                ReplayVerdict.DUE,
                f"no call is needed any more ({decision.reason}); one look settles it",
            )
        case Command() if not standing.has_contact:
            return _investigate(
                "no Dynamics contact is mapped: add it to hlf_sync.contact_mapping, that alone"
                " delivers it"
            )
        case Command():
            return _judge_command(letter, kind, decision, is_repaired=is_repaired)
        case _ as never:
            assert_never(never)


def _judge_command(
    letter: Letter, kind: LetterKind, decision: Command, *, is_repaired: bool
) -> Judgement:
    due = f"{decision.operation.value} ({decision.reason}) is due now"
    match kind:
        case LetterKind.EXHAUSTED:
            return Judgement(
                ReplayVerdict.DUE,
                f"{counted(letter.attempt_count or 0, 'attempt')} failed ({letter.error_code}); {due}",
                calls=1,
            )
        case LetterKind.REJECTED if is_repaired:
            return Judgement(
                ReplayVerdict.DUE, f"said to be repaired ({letter.error_code}); {due}", calls=1
            )
        case LetterKind.REJECTED:
            return _investigate(
                f"Dynamics refused it ({letter.error_code}): repair it there, then plan with"
                " --repaired"
            )
        case LetterKind.UNMAPPED:
            return Judgement(ReplayVerdict.DUE, f"a contact is mapped by now; {due}", calls=1)
        case LetterKind.REFUSED:
            return Judgement(
                ReplayVerdict.DUE, f"the facts are within the contract by now; {due}", calls=1
            )
        case LetterKind.UNDECODABLE:
            return _investigate(f"a record that cannot be read ({letter.error_code})")
        case _ as never:
            assert_never(never)


def _why_superseded(letter: Letter, standing: LetterStanding) -> str:
    ledger = standing.ledger
    if ledger.state is LedgerState.DEAD_LETTERED:
        newer = ledger.dead_letter_id
        return f"a newer letter of the mentor stands for it ({newer or 'which a person closed'})"
    if ledger.state in {LedgerState.PENDING, LedgerState.IN_DOUBT}:
        return "a newer delivery of the mentor is under way"
    if ledger.generation > (letter.generation or 0):
        return "the mentor was delivered since"
    return "nothing is due for the mentor any more"


def _superseded(reason: str) -> Judgement:
    return Judgement(ReplayVerdict.SUPERSEDED, reason)


def _investigate(reason: str) -> Judgement:
    return Judgement(ReplayVerdict.INVESTIGATE, reason)
