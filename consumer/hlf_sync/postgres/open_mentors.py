"""Everybody who is not at rest: whom, since when, why. One snapshot of all mentors, decided as a
worker would; on a connection that a command has opened.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import tuple_row

from hlf_sync.core.breaker import State
from hlf_sync.core.decide import Rules
from hlf_sync.core.model import Command, ContactId, HaltReason, MentorId, Operation
from hlf_sync.core.open_mentor import Cause, Fleet, cause_of, next_try_s
from hlf_sync.pipeline.job import due
from hlf_sync.ports import Known
from hlf_sync.postgres.population import read_everybody

_FLEET = """
SELECT extract(epoch FROM clock_timestamp())::float8, ARRAY(SELECT reason FROM hlf_sync.halt), coalesce(c.state, 'closed'),
       extract(epoch FROM greatest(c.opened_at + make_interval(secs => %(cool_down_s)s), c.retry_after_until))::float8
  FROM (VALUES (%(organization)s)) AS o (organization) LEFT JOIN hlf_sync.circuit c USING (organization)
"""
# Since when, and for what: the oldest open failure, else the row's last change.
_ROWS = """
SELECT l.mentor_id::text, extract(epoch FROM least(l.updated_at, f.since))::float8, l.triggered_by
  FROM hlf_sync.mentor_ledger l
  LEFT JOIN (SELECT mentor_id, min(attempted_at) AS since FROM hlf_sync.dynamics_sync_failures WHERE resolved_at IS NULL GROUP BY 1) f
    USING (mentor_id)
 WHERE l.state IN ('pending', 'in_doubt', 'dead_lettered')
"""
_HELD = """
SELECT mentor_id::text, extract(epoch FROM held_at)::float8 FROM hlf_sync.held_removal WHERE confirmed_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class OpenMentor:
    """One of them. `should_be` is None for facts outside the contract, `shown` while it is not
    known; times are epoch seconds, None where nothing tells.
    """

    mentor_id: MentorId
    contact_id: ContactId | None
    cause: Cause
    should_be: str | None
    shown: str | None
    since_s: float | None
    state: str | None
    error_code: str | None
    attempt_count: int
    next_try_s: float | None
    triggered_by: str | None


def read_open(
    connection: Connection[Any], rules: Rules, *, cool_down_s: float
) -> tuple[Fleet, list[OpenMentor]]:
    """All of them, the oldest first; who is open since an unknown time comes last."""
    now_s, everybody = read_everybody(connection)
    with connection.cursor(row_factory=tuple_row) as cursor:
        values = {"organization": rules.organization, "cool_down_s": cool_down_s}
        (_, halts, state, probe_s), *_ = cursor.execute(_FLEET, values).fetchall()
        rows = {row[0]: row[1:] for row in cursor.execute(_ROWS)}
        held: dict[str, float] = dict(cursor.execute(_HELD).fetchall())
    fleet = Fleet(now_s, State(state), probe_s, frozenset(map(HaltReason, halts)))
    found: list[OpenMentor] = []
    for mentor_id, known in everybody:
        one = _open(mentor_id, known, fleet, rules, rows.get(mentor_id), held.get(mentor_id))
        if one is not None:
            found.append(one)
    found.sort(key=lambda one: (one.since_s is None, one.since_s or 0.0, one.mentor_id))
    return fleet, found


def _open(
    mentor_id: MentorId,
    known: Known,
    fleet: Fleet,
    rules: Rules,
    row: Sequence[Any] | None,
    held_s: float | None,
) -> OpenMentor | None:
    decision, ledger = due(known, known.ledger, fleet.now_s, rules), known.ledger
    cause = cause_of(decision, ledger, fleet, is_paused=known.is_paused, is_held=held_s is not None)
    if cause is None:
        return None
    ended_s = known.facts.certificate_expires_s if known.facts else None
    has_lapsed = isinstance(decision, Command) and decision.reason == "no_valid_certificate"
    since_s = held_s if cause is Cause.HELD else row[0] if row else None
    if since_s is None and has_lapsed:
        since_s = ended_s
    shown = None if ledger.is_in_doubt else ledger.applied
    if known.former_contact_id is not None:
        wanted: str | None = Operation.REMOVE.wanted.value
    else:
        wanted = (
            decision.operation.wanted.value if isinstance(decision, Command) else ledger.applied
        )
    return OpenMentor(
        mentor_id,
        known.contact_id,
        cause,
        wanted,
        shown and shown.value,
        since_s,
        ledger.state and ledger.state.value,
        ledger.last_error_code,
        ledger.attempt_count,
        next_try_s(cause, ledger, fleet),
        row[1] if row else None,
    )
