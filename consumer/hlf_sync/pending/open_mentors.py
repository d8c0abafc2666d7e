"""Every mentor that is not at rest. One snapshot of all mentors, judged by core/open_update as the web
service does; on a connection that a command has opened.
"""

from dataclasses import dataclass, replace

from hlf_sync.core.decide import Rules
from hlf_sync.core.model import ContactId, MentorId
from hlf_sync.core.open_update import Case, Conditions, OpenUpdate, judge
from hlf_sync.core.retry import RetryPolicy
from hlf_sync.postgres.connections import AnySyncConnection
from hlf_sync.postgres.open_rows import BLANK, read_conditions, read_open_rows, read_since
from hlf_sync.postgres.population import read_everybody


@dataclass(frozen=True, slots=True)
class OpenMentor:
    """One of them."""

    mentor_id: MentorId
    contact_id: ContactId | None
    update: OpenUpdate
    error_code: str | None
    attempt_count: int
    triggered_by: str | None


def read_open(
    connection: AnySyncConnection,
    rules: Rules,
    retry: RetryPolicy,
    *,
    cool_down_s: float,
    is_shadow: bool,
) -> tuple[Conditions, list[OpenMentor]]:
    """All of them, the oldest first; who is open since an unknown time comes last."""
    _, everybody = read_everybody(connection)
    rows = read_open_rows(connection)
    around = read_conditions(
        connection, rules.organization, cool_down_s=cool_down_s, is_shadow=is_shadow
    )
    found: list[OpenMentor] = []
    for mentor_id, known in everybody:
        row = rows.get(mentor_id, BLANK)
        case = Case(known=known, held_s=row.held_s, updated_s=row.updated_s, began_s=row.began_s)
        update = judge(case, around, rules, retry)
        if update is not None:
            ledger = known.ledger
            found.append(
                OpenMentor(
                    mentor_id,
                    known.contact_id,
                    update,
                    ledger.last_error_code,
                    ledger.attempt_count,
                    row.triggered_by,
                )
            )
    found = _dated(connection, found)
    found.sort(key=_place)
    return around, found


def _dated(connection: AnySyncConnection, found: list[OpenMentor]) -> list[OpenMentor]:
    """Who waits for a first call is in no book: since when, the leader or the commit tells."""
    undated = [one.mentor_id for one in found if one.update.since_s is None]
    since = read_since(connection, undated) if undated else {}
    return [
        replace(one, update=replace(one.update, since_s=since[one.mentor_id]))
        if one.update.since_s is None and one.mentor_id in since
        else one
        for one in found
    ]


def _place(one: OpenMentor) -> tuple[bool, float, str]:
    since_s = one.update.since_s
    return since_s is None, since_s or 0.0, one.mentor_id
