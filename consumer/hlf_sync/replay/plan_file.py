"""A plan as a file: JSON that people can read, with a hash over its content. Written by `replay
plan`, read by `replay apply`.

A plan says what was found and what would be asked for; applying judges every letter again, so an
old plan is harmless. The hash is not a signature: it tells that somebody edited the file, so that what
is applied is what was shown.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from hlf_sync.core.model import LetterKind, MentorId
from hlf_sync.errors import SettingsError
from hlf_sync.replay.judgement import UNREADABLE, Judgement, Letter, ReplayVerdict

FORMAT = 1


class PlanError(SettingsError):
    """The file is not a plan that may be applied."""


@dataclass(frozen=True, slots=True)
class PlannedLetter:
    """A letter and what was judged of it."""

    letter: Letter
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Plan:
    """`range` maps partitions to the positions that were looked at, first and end (exclusive)."""

    plan_id: str
    created_at: str
    topic: str
    topic_id: str
    range: Mapping[int, tuple[int, int]]
    filters: Mapping[str, Any]
    is_repaired: bool
    # asyncio words its result when it ends, for nobody; with 100,000 letters that would take
    # seconds.
    letters: Sequence[PlannedLetter] = field(repr=False)
    seconds: float
    gone: Sequence[str] = ()  # open in the database, and no longer in the topic

    @property
    def counts(self) -> dict[str, int]:
        """How many letters have each verdict."""
        found = Counter(planned.judgement.verdict for planned in self.letters)
        return {verdict.value: found[verdict] for verdict in ReplayVerdict}

    @property
    def calls(self) -> int:
        """Calls of Dynamics that applying costs."""
        return sum(planned.judgement.calls for planned in self.letters)

    @property
    def due(self) -> list[Letter]:
        """What applying asks for."""
        return [
            planned.letter
            for planned in self.letters
            if planned.judgement.verdict is ReplayVerdict.DUE
        ]

    @property
    def to_investigate(self) -> list[Letter]:
        """What a person must look into, and may close."""
        return [
            planned.letter
            for planned in self.letters
            if planned.judgement.verdict is ReplayVerdict.INVESTIGATE
        ]

    def content(self) -> dict[str, Any]:
        """The file's content, hash included."""
        body: dict[str, Any] = {
            "format": FORMAT,
            "plan_id": self.plan_id,
            "created_at": self.created_at,
            "topic": self.topic,
            "topic_id": self.topic_id,
            "range": {
                str(partition): list(extent) for partition, extent in sorted(self.range.items())
            },
            "filters": dict(self.filters),
            "repaired": self.is_repaired,
            "counts": self.counts,
            "calls": self.calls,
            "seconds": self.seconds,
            "gone": list(self.gone),
            "letters": [_row(planned) for planned in self.letters],
        }
        return {**body, "hash": _hash(body)}


def write(plan: Plan, path: Path) -> None:
    """Write the file whole or not at all."""
    half = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        half.write_bytes(orjson.dumps(plan.content(), option=orjson.OPT_INDENT_2) + b"\n")
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise SettingsError(f"--output {path}: cannot be written ({error.strerror})") from None


def read(path: Path) -> Plan:
    """Read a plan; raises `PlanError` for what is none, or was edited."""
    try:
        found = orjson.loads(path.read_bytes())
    except OSError as error:
        raise PlanError(
            f"{path}: cannot be read ({error.strerror}); `hlf-sync replay plan` makes a plan"
        ) from None
    except orjson.JSONDecodeError:
        raise PlanError(
            f"{path} is not a plan, or was cut short; `hlf-sync replay plan` makes one"
        ) from None
    if not isinstance(found, dict) or "hash" not in found or "letters" not in found:
        raise PlanError(f"{path} is not a plan; `hlf-sync replay plan` makes one")
    if found.pop("hash") != _hash(found):
        raise PlanError(
            f"{path} was edited after it had been made; make a new one with `hlf-sync replay plan`"
        )
    if found.get("format") != FORMAT:
        raise PlanError(
            f"{path} was made by another version of hlf-sync; make a new one with `hlf-sync replay"
            " plan`"
        )
    try:
        return _plan(found)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PlanError(
            f"{path} is not a plan: something is missing, or of another kind; `hlf-sync replay plan`"
            " makes one"
        ) from error


def _hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _row(planned: PlannedLetter) -> dict[str, Any]:
    letter, judgement = planned.letter, planned.judgement
    return {
        "id": letter.id,
        "mentor_id": letter.mentor_id,
        "kind": letter.kind_word,
        "verdict": judgement.verdict.value,
        "reason": judgement.reason,
        "calls": judgement.calls,
        "error_code": letter.error_code,
        "created_at_ms": letter.created_at_ms,
        "generation": letter.generation,
        "attempt_count": letter.attempt_count,
        "partition": letter.partition,
        "offset": letter.offset,
    }


def _plan(found: Mapping[str, Any]) -> Plan:
    return Plan(
        plan_id=found["plan_id"],
        created_at=found["created_at"],
        topic=found["topic"],
        topic_id=found["topic_id"],
        range={int(partition): (first, end) for partition, (first, end) in found["range"].items()},
        filters=found["filters"],
        is_repaired=found["repaired"],
        letters=[
            PlannedLetter(
                _letter(row), Judgement(ReplayVerdict(row["verdict"]), row["reason"], row["calls"])
            )
            for row in found["letters"]
        ],
        seconds=found["seconds"],
        gone=tuple(found["gone"]),
    )


def _letter(row: Mapping[str, Any]) -> Letter:
    return Letter(
        partition=row["partition"],
        offset=row["offset"],
        id=row["id"],
        kind=None if row["kind"] == UNREADABLE else LetterKind(row["kind"]),
        error_code=row["error_code"],
        created_at_ms=row["created_at_ms"],
        mentor_id=None if row["mentor_id"] is None else MentorId(row["mentor_id"]),
        generation=row["generation"],
        attempt_count=row["attempt_count"],
    )
