"""Puts one mentor's story together: facts, ledger, decision, timeline. Called by the command line;
reads only.

PostgreSQL must answer. Kafka and the registry may be away: then the timeline says which part of it
is missing.
"""

from dataclasses import asdict, dataclass
from typing import Any

from hlf_sync.config.settings import Settings
from hlf_sync.core.decide import Rules, due, has_valid_certificate
from hlf_sync.core.iso_time import iso_or_none, iso_time
from hlf_sync.core.model import (
    Command,
    Decision,
    Facts,
    LedgerState,
    MentorId,
    NoCall,
    Operation,
    Refuse,
)
from hlf_sync.errors import DependencyError
from hlf_sync.ports import Known
from hlf_sync.postgres.connections import Pool
from hlf_sync.postgres.delivery_blockers import Surroundings
from hlf_sync.postgres.delivery_blockers import read as read_surroundings
from hlf_sync.postgres.facts import FactsView
from hlf_sync.why import books, changes
from hlf_sync.why.changes import Progress, Window
from hlf_sync.why.timeline import Moment, MomentKind, in_order

_LEDGER_TIMES = ("lease_until", "doubt_until", "reevaluate_at", "updated_at")


@dataclass(frozen=True, slots=True)
class Story:
    """Times of `timeline` are epoch seconds; those inside the three mappings are ISO texts already,
    as scripts get them.
    """

    mentor_id: MentorId
    facts: dict[str, Any] | None
    ledger: dict[str, Any] | None
    decision: dict[str, Any]
    timeline: list[Moment]

    @property
    def is_unknown(self) -> bool:
        """Whether nobody has ever heard of this mentor."""
        happened = [
            moment
            for moment in self.timeline
            if moment.kind
            not in {MomentKind.SEARCHED, MomentKind.MISSING, MomentKind.CIRCUIT, MomentKind.HALT}
        ]
        return (
            self.facts is None
            and self.ledger is None
            and not self.decision["contact_id"]
            and not happened
        )

    def content(self) -> dict[str, Any]:
        """For scripts: contract.md's keys."""
        timeline = [
            {"at": iso_or_none(moment.at_s), "kind": moment.kind.value, **moment.content}
            for moment in self.timeline
        ]
        return {
            "mentor_id": self.mentor_id,
            "facts": self.facts,
            "ledger": self.ledger,
            "decision": self.decision,
            "timeline": timeline,
        }


async def tell(
    settings: Settings, pool: Pool, mentor_id: MentorId, window: Window | None, progress: Progress
) -> Story:
    """Tell it; `window` is None where changes are not wanted. `mentor_id` may be a contact's id."""
    view = FactsView(pool)
    await view.ping()
    mentor_id = await books.mentor_of(pool, mentor_id)
    around = await read_surroundings(pool, settings.organization)
    written = await books.read(pool, mentor_id)
    moments = [
        *written.moments,
        *_fleet(around),
        *await _changes(settings, mentor_id, window, around.now_s, progress),
    ]
    # Read last, so that what is shown as 'now' is newer than the story before it.
    reading = await view.read([mentor_id])
    known, rules = reading.mentors[mentor_id], Rules(organization=settings.organization)
    decision = due(known, known.ledger, reading.now_s, rules)
    ledger = written.ledger
    if ledger is not None:
        ledger = {
            name: iso_or_none(value) if name in _LEDGER_TIMES else value
            for name, value in ledger.items()
        }
    return Story(
        mentor_id,
        _facts(known.facts, reading.now_s),
        ledger,
        _decision(decision, known, around, reading.now_s, settings.delivery),
        in_order(moments),
    )


async def _changes(
    settings: Settings, mentor_id: MentorId, window: Window | None, now_s: float, progress: Progress
) -> list[Moment]:
    if window is None:
        return [_missing(now_s, "changes", "not asked for (--no-changes)")]
    if not settings.kafka_bootstrap_servers:
        return [_missing(now_s, "changes", "HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS is not set")]
    try:
        everywhere = await changes.search(settings, mentor_id, window, now_s, progress)
    except DependencyError as error:
        return [_missing(now_s, "changes", str(error))]
    return [
        moment
        for found in everywhere
        for moment in (_searched(found, window, now_s), *found.moments)
    ]


def _searched(found: changes.FoundChanges, window: Window, now_s: float) -> Moment:
    return Moment(
        now_s - window.days * 86_400,
        MomentKind.SEARCHED,
        {
            **asdict(found.stretch),
            "records": found.stretch.length,
            "days": window.days,
            "is_cut": found.is_cut,
            "changes": found.changes,
            "shown": min(found.changes, window.newest_changes),
            "committed": found.committed,
        },
    )


def _missing(now_s: float, part: str, why: str) -> Moment:
    return Moment(now_s, MomentKind.MISSING, {"part": part, "why": why})


def _fleet(around: Surroundings) -> list[Moment]:
    moments = [
        Moment(halt.since_s, MomentKind.HALT, {"reason": halt.reason, "detail": halt.detail})
        for halt in around.halts
    ]
    if around.circuit != "closed":
        opened_s = around.opened_s or around.now_s
        moments.append(
            Moment(
                opened_s,
                MomentKind.CIRCUIT,
                {"state": around.circuit, "error_code": around.last_error_code},
            )
        )
    return moments


def _facts(facts: Facts | None, now_s: float) -> dict[str, Any] | None:
    if facts is None:
        return None
    return {
        "organization": facts.organization,
        "status": facts.status,
        "certification_id": facts.certification_id,
        "certificate_expires_at": iso_or_none(facts.certificate_expires_s),
        "certificate_is_valid": has_valid_certificate(facts, now_s),
    }


def _decision(
    decision: Decision, known: Known, around: Surroundings, now_s: float, delivery: str
) -> dict[str, Any]:
    kind, reason, operation = _kind(decision)
    return {
        "decision": kind,
        "reason": reason,
        "at": iso_time(now_s),
        "contact_id": known.contact_id,
        "is_remapped": known.is_remapped,
        "former_contact_id": decision.former_contact_id if isinstance(decision, Command) else None,
        "blocked_by": _blocks(known, around, now_s, delivery, operation) if operation else [],
        "has_worker": around.has_worker,
    }


def _kind(decision: Decision) -> tuple[str, str, Operation | None]:
    match decision:
        case NoCall(reason):
            return "no_call", reason, None
        case Command(operation, reason, _):
            return operation.value, reason, operation
        case Refuse(error_code):
            return "refuse", error_code, None


def _blocks(
    known: Known, around: Surroundings, now_s: float, delivery: str, operation: Operation
) -> list[str]:
    """Why the call that is due is not being made."""
    ledger = known.ledger
    lines = around.obstacles(is_removal=operation is Operation.REMOVE)
    if known.is_paused:
        lines.append("paused by an operator: `hlf-sync history --kind pause` says by whom and why")
    if known.contact_id is None:
        lines.append("no Dynamics contact is mapped to the mentor (hlf_sync.contact_mapping)")
    if ledger.state is LedgerState.DEAD_LETTERED:
        lines.append(f"a dead letter is open ({ledger.last_error_code})")
    if (ledger.lease_until_s or 0.0) > now_s:
        lines.append(f"{ledger.lease_owner} is delivering it now")
    if delivery == "shadow":
        lines.append("HLF_SYNC_DELIVERY is shadow here: nothing is called")
    return [*lines, *around.reported()]
