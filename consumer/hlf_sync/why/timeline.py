"""A mentor's story in its order: what moments there are, and how they follow one another. Pure;
used by `why`.

The moments come from several clocks and tables. Times rule; where they are equal, cause comes
before effect: a change is asked for before it is decided, decided before it is called, called
before it is a dead letter.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class MomentKind(StrEnum):
    """What can happen to a mentor, in the order in which one thing leads to the next."""

    MISSING = "missing"  # a part of the story that could not be read
    SEARCHED = "searched"  # where and how far changes were looked for
    CIRCUIT = "circuit"
    HALT = "halt"
    CHANGE = "change"
    REQUEST = "request"
    PAUSED = "paused"  # an operator holds this mentor back
    UNPAUSED = "unpaused"
    HELD = "held"  # the mass change guard holds the removal back
    CONFIRMED = "confirmed"
    DECISION = "decision"
    ATTEMPT = "attempt"
    BREAK_GLASS = "break_glass"  # a call beside the ledger, told by `break-glass settle`
    DEAD_LETTER = "dead_letter"
    RESOLVED = "resolved"
    CLOSED = "closed"  # a person closed the dead letter


_RANK = {kind: rank for rank, kind in enumerate(MomentKind)}


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened. `at_s` is epoch seconds; `content` holds ids, words and numbers of
    our own only.
    """

    at_s: float
    kind: MomentKind
    content: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One row of `delivery_attempt`. Times are epoch seconds of its start, milliseconds of its
    length.
    """

    number: int
    generation: int
    operation: str
    triggered_by: str
    started_s: float
    duration_ms: int
    outcome: str
    error_code: str | None = None
    http_status: int | None = None
    correlation_id: str | None = None
    reason: str | None = None
    certification_id: str | None = None


def in_order(moments: Iterable[Moment]) -> list[Moment]:
    """The moments as they followed one another."""
    return sorted(moments, key=lambda moment: (moment.at_s, _RANK[moment.kind]))


def deliveries(attempts: Sequence[Attempt]) -> list[Moment]:
    """What a mentor's attempts (in their order) tell: each decision once, each attempt with how
    long was waited since the one before it.
    """
    moments: list[Moment] = []
    before: Attempt | None = None
    for attempt in attempts:
        waited_s = None
        if before is None or not _is_retry(before, attempt):
            moments.append(Moment(attempt.started_s, MomentKind.DECISION, _decision(attempt)))
        else:
            waited_s = round(attempt.started_s - before.started_s - before.duration_ms / 1000, 3)
        moments.append(
            Moment(attempt.started_s, MomentKind.ATTEMPT, {**_call(attempt), "waited_s": waited_s})
        )
        before = attempt
    return moments


def _is_retry(before: Attempt, attempt: Attempt) -> bool:
    """Whether this goes on with what the one before it did not bring to an end. A probe's number
    does not grow, a replay's begins anew.
    """
    is_same = (before.operation, before.reason, before.triggered_by) == (
        attempt.operation,
        attempt.reason,
        attempt.triggered_by,
    )
    return is_same and before.outcome != "applied" and attempt.number >= before.number


def _decision(attempt: Attempt) -> dict[str, object]:
    return {
        "decision": attempt.operation,
        "reason": attempt.reason,
        "triggered_by": attempt.triggered_by,
        "certification_id": attempt.certification_id,
    }


def _call(attempt: Attempt) -> dict[str, object]:
    return {
        "operation": attempt.operation,
        "attempt_number": attempt.number,
        "outcome": attempt.outcome,
        "error_code": attempt.error_code,
        "http_status": attempt.http_status,
        "duration_ms": attempt.duration_ms,
        "generation": attempt.generation,
        "triggered_by": attempt.triggered_by,
        "correlation_id": attempt.correlation_id,
    }
