"""Checks every invariant over what is written elsewhere: the database's history, the changes topic,
the emulator's journal, the ledger, the letters.

Pure: `Evidence` in, `Findings` out. Called by wave.py when a wave has come to rest; test_auditor.py
shows it evidence of every kind of wrong.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.circuit import Move, Period, calls_not_allowed
from tests.chaos.history import Event, Span, Want, timelines, wanted_at, wanted_between

_XID = 2**32
# How soon a worker that reaches PostgreSQL knows that the circuit has opened, seconds: it is told,
# and looks every 250 ms; the machine is busy.
_HEARD_S = 1.25


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A mentor's row at the end."""

    applied: str | None
    intended: str | None
    state: str
    letter_id: str | None
    owner: str | None = None  # of a lease


@dataclass(frozen=True)
class Evidence:
    """Everything written down about a run. Times: epoch seconds. `reach_s`: how old facts may be
    when a call that rests on them begins.

    `freezes`: some worker stood still. `muffled`: what came to Dynamics did not come when it was
    sent. `deaf`: some worker could not hear PostgreSQL.
    """

    events: Sequence[Event]
    topic: frozenset[tuple[int, str]]  # (32-bit transaction id, mentor) of every change record
    journal: Sequence[Mapping[str, Any]]
    first_shown: Mapping[str, bool | None]
    shown: Mapping[str, bool | None]
    ledger: Mapping[str, LedgerRow]
    letters: frozenset[str]  # ids in the topic
    failures: frozenset[str]  # letter ids in dynamics_sync_failures
    now_s: float
    reach_s: float
    timeout_s: float = 3.5  # of one call: after that its client is gone, unless it is frozen
    lag: int = 0
    unmapped: frozenset[str] = frozenset()
    freezes: Sequence[Period] = ()
    muffled: Sequence[Period] = ()
    deaf: Sequence[Period] = ()
    circuit: Sequence[Move] = ()
    unrest: Sequence[
        str
    ] = ()  # what was still under way when the patience for coming to rest was over
    leaks: Sequence[str] = ()  # where a canary of personal data or a secret was found


@dataclass(slots=True)
class Findings:
    """What is wrong (must be empty) and what is merely counted."""

    lost: list[str] = field(default_factory=list)
    wrong_final: list[str] = field(default_factory=list)
    phantom: list[str] = field(default_factory=list)
    other_organization: list[str] = field(default_factory=list)
    personal: list[str] = field(default_factory=list)
    overlapping: list[str] = field(default_factory=list)
    letters: list[str] = field(default_factory=list)
    breaker: list[str] = field(default_factory=list)
    unrest: list[str] = field(default_factory=list)
    calls: int = 0
    applied: int = 0
    duplicates: int = 0
    excused: int = 0  # two calls of one mentor at once, because a client was frozen or out of reach
    held: int = 0  # mentors in a holding place: an open letter

    @property
    def violations(self) -> dict[str, list[str]]:
        """What must be empty, by name."""
        names = (
            "lost",
            "wrong_final",
            "phantom",
            "other_organization",
            "personal",
            "overlapping",
            "letters",
            "breaker",
            "unrest",
        )
        return {name: getattr(self, name) for name in names}

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not any(self.violations.values())


def audit(evidence: Evidence) -> Findings:
    """Check everything."""
    findings = Findings(personal=list(evidence.leaks), unrest=list(evidence.unrest))
    lines = timelines(evidence.events)
    _find_lost(evidence, findings)
    _find_wrong(evidence, lines, findings)
    _judge_calls(evidence, lines, findings)
    _find_overlaps(evidence, findings)
    _find_wrong_probes(evidence, findings)
    _judge_letters(evidence, findings)
    return findings


def _find_lost(evidence: Evidence, findings: Findings) -> None:
    """I3: what was committed has come into the topic (at least once), and the group has handled the
    topic to its end.
    """
    for event in evidence.events:
        if event.was_ours and (event.xid % _XID, event.mentor_id) not in evidence.topic:
            findings.lost.append(
                f"{event.table} of {event.mentor_id}, transaction {event.xid}: no record"
            )
    if evidence.lag:
        findings.lost.append(f"{evidence.lag} records without an outcome")


def _find_wrong(evidence: Evidence, lines: Mapping[str, list[Span]], findings: Findings) -> None:
    """I1: the CRM shows what the facts want, or the mentor has an open letter; and the ledger tells
    the truth and is at rest.
    """
    for mentor_id, line in lines.items():
        want, shown, row = (
            wanted_at(line, evidence.now_s),
            evidence.shown.get(mentor_id),
            evidence.ledger.get(mentor_id),
        )
        was_ours = any(span.want is not Want.OUT for span in line)
        if row is not None and row.state == "dead_lettered":
            findings.held += 1
            continue
        if mentor_id in evidence.unmapped and want not in {Want.OUT, Want.SILENT}:
            findings.wrong_final.append(f"{mentor_id}: without a mapping and without a letter")
        elif want is Want.REFUSE:
            findings.wrong_final.append(f"{mentor_id}: facts outside the contract, and no letter")
        elif not was_ours or (
            want in {Want.OUT, Want.SILENT} and (row is None or row.applied is None)
        ):
            expected = evidence.first_shown.get(mentor_id)
            if shown != expected:
                findings.wrong_final.append(
                    f"{mentor_id}: never ours to change, was {expected}, shows {shown}"
                )
        elif shown is not want.is_shown:
            findings.wrong_final.append(
                f"{mentor_id}: wanted {want}, the CRM shows {shown}, the ledger says {row}"
            )
        if row is not None:
            findings.wrong_final += [
                f"{mentor_id}: {found}" for found in _unsettled(row, shown=shown)
            ]


def _unsettled(row: LedgerRow, *, shown: bool | None) -> Iterable[str]:
    """What is wrong with a ledger's row at rest."""
    if row.owner is not None:
        yield f"at rest, and {row.owner} has never given its lease back"
    if row.state in {"pending", "in_doubt"}:
        yield f"at rest, and still {row.state}"
    elif row.intended is not None:
        yield (
            f"at rest as {row.state}, and nobody is to settle the doubt whether it is"
            f" {row.intended}"
        )
    elif row.applied is not None and row.applied != ("visible" if shown else "hidden"):
        yield f"the ledger says {row.applied}, the CRM shows {shown}"


def _judge_calls(evidence: Evidence, lines: Mapping[str, list[Span]], findings: Findings) -> None:
    """I2, I4: every call follows facts that held shortly before it, and none is for a mentor that
    was never ours.
    """
    shown = dict(evidence.first_shown)
    calls = [
        entry
        for entry in evidence.journal
        if entry["method"] == "PATCH" and entry["contact_id"] in lines
    ]
    findings.calls = len(calls)
    for call in calls:
        mentor_id, value, start_s = call["contact_id"], _value(call), call["started_ms"] / 1000
        line = lines[mentor_id]
        if all(span.want is Want.OUT for span in line if span.start_s <= start_s):
            findings.other_organization.append(f"{mentor_id}: call {call['seq']} at {start_s:.3f}")
            continue
        reach_s = evidence.reach_s + sum(
            one.end_s - one.start_s
            for one in (*evidence.freezes, *evidence.muffled)
            if one.start_s - evidence.reach_s < start_s < one.end_s + 10
        )
        wants = {want.is_shown for want in wanted_between(line, start_s - reach_s, start_s + 0.05)}
        if value not in wants:
            findings.phantom.append(
                f"{mentor_id}: call {call['seq']} at {start_s:.3f} asks for {value}, the facts"
                f" wanted {wants}"
            )
    for call in sorted(
        (call for call in calls if call["applied_ms"]),
        key=lambda one: (one["applied_mono_ms"], one["seq"]),
    ):
        findings.applied += 1
        findings.duplicates += shown.get(call["contact_id"]) is _value(call)
        shown[call["contact_id"]] = _value(call)


def _value(call: Mapping[str, Any]) -> bool | None:
    values = list((call["columns"] or {}).values())
    return values[0] if len(values) == 1 and isinstance(values[0], bool) else None


def _find_overlaps(evidence: Evidence, findings: Findings) -> None:
    """A lease keeps others away: two calls of one mentor at once only where a worker stood still
    past its lease (no fence can close that).
    """
    last: dict[str, Mapping[str, Any]] = {}
    for call in sorted(
        (e for e in evidence.journal if e["method"] == "PATCH"), key=lambda one: one["started_ms"]
    ):
        before = last.get(call["contact_id"])
        if before is not None and _overlap(before, call):
            if _is_excused(evidence, before, call):
                findings.excused += 1
            else:
                findings.overlapping.append(
                    f"{call['contact_id']}: calls {before['seq']} and {call['seq']}"
                )
        last[call["contact_id"]] = call


def _overlap(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    ends = [before[name] for name in ("client_gone_ms", "ended_ms") if before[name] is not None]
    return bool(after["overlap"]) and (not ends or min(ends) > after["started_ms"])


def _is_excused(evidence: Evidence, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether the first call outlived its time-out, its client frozen or out of reach; or either
    came later than it was sent.
    """
    first_s, second_s = before["started_ms"] / 1000, after["started_ms"] / 1000
    if second_s - first_s > evidence.timeout_s - 0.2:
        return any(one.meets(first_s, second_s) for one in (*evidence.freezes, *evidence.muffled))
    return any(
        any(one.end_s - 0.1 < at_s < one.end_s + 1 for one in evidence.freezes)
        or any(one.start_s < at_s < one.end_s + 1 for one in evidence.muffled)
        for at_s in (first_s, second_s)
    )


def _find_wrong_probes(evidence: Evidence, findings: Findings) -> None:
    """I10: open lets no call through, half-open one at a time."""
    calls = sorted(
        (entry for entry in evidence.journal if entry["method"] == "PATCH"),
        key=lambda one: (one["started_ms"], one["seq"]),
    )
    deaf = (*evidence.deaf, *evidence.freezes, *evidence.muffled)
    findings.breaker += calls_not_allowed(evidence.circuit, calls, deaf, _HEARD_S)


def _judge_letters(evidence: Evidence, findings: Findings) -> None:
    """I7: whatever the ledger holds for a dead letter is in the topic, under the same id."""
    known: Iterable[tuple[str, str | None]] = [
        *(("a failure's row", letter_id) for letter_id in evidence.failures),
        *(
            (f"the ledger of {mentor_id}", row.letter_id)
            for mentor_id, row in evidence.ledger.items()
            if row.state == "dead_lettered"
        ),
    ]
    findings.letters += [
        f"{where}: letter {letter_id} is not in the topic"
        for where, letter_id in known
        if letter_id not in evidence.letters
    ]
