"""Every mentor that is not at rest. One snapshot of all mentors, judged by core/open_update as the web
service does; on a connection that a command has opened.
"""

from dataclasses import dataclass, replace

from hlf_sync.core.decide import Rules
from hlf_sync.core.model import ContactId, MentorId
from hlf_sync.core.open_update import Case, Conditions, OpenState, OpenUpdate, judge
from hlf_sync.core.retry import RetryPolicy
from hlf_sync.postgres.connections import AnySyncConnection
from hlf_sync.postgres.open_rows import (
    BLANK,
    OpenRow,
    read_conditions,
    read_open_rows,
    read_since,
)
from hlf_sync.postgres.population import read_everybody


@dataclass(frozen=True, slots=True)
class OpenMentor:
    """One of them; `letter_id` names the dead letter that stands for it."""

    mentor_id: MentorId
    contact_id: ContactId | None
    update: OpenUpdate
    error_code: str | None
    attempt_count: int
    triggered_by: str | None
    letter_id: str | None = None


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
    judged: list[tuple[MentorId, Case, OpenUpdate]] = []
    for mentor_id, known in everybody:
        row = rows.get(mentor_id, BLANK)
        case = Case(known=known, held_s=row.held_s, updated_s=row.updated_s, began_s=row.began_s)
        update = judge(case, around, rules, retry)
        if update is not None:
            judged.append((mentor_id, case, update))
    # Who waits for a first call is in no book: since when, the leader or the commit tells.
    undated = [mentor_id for mentor_id, _, update in judged if update.since_s is None]
    since = read_since(connection, undated) if undated else {}
    found: list[OpenMentor] = []
    for mentor_id, case, undated_update in judged:
        at_s = since.get(mentor_id) if undated_update.since_s is None else None
        update = judge(replace(case, noticed_s=at_s), around, rules, retry) if at_s else None
        found.append(_open(mentor_id, case, update or undated_update, rows.get(mentor_id, BLANK)))
    found.sort(key=_place)
    return around, found


def _open(mentor_id: MentorId, case: Case, update: OpenUpdate, row: OpenRow) -> OpenMentor:
    """What no worker has looked at yet was triggered by nothing that the ledger knows: its row tells
    of what was delivered before.
    """
    known, is_booked = case.known, update.is_booked
    return OpenMentor(
        mentor_id,
        known.contact_id,
        update,
        known.ledger.last_error_code if is_booked else None,
        known.ledger.attempt_count if is_booked else 0,
        row.triggered_by if is_booked else None,
        known.ledger.dead_letter_id if update.state is OpenState.DEAD_LETTERED else None,
    )


def _place(one: OpenMentor) -> tuple[bool, float, str]:
    since_s = one.update.since_s
    return since_s is None, since_s or 0.0, one.mentor_id
