"""Everybody who is not at rest: whom, since when, why. One snapshot of all mentors, decided as a
worker would; on a connection that a command has opened.
"""

from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from hlf_sync.core.decide import Rules, due
from hlf_sync.core.model import Command, ContactId, Known, MentorId
from hlf_sync.core.open_mentor import Cause, Fleet, cause_of, next_try_s
from hlf_sync.postgres.open_rows import OpenRows, read_open_rows
from hlf_sync.postgres.population import read_everybody


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
    _, everybody = read_everybody(connection)
    rows = read_open_rows(connection, rules.organization, cool_down_s=cool_down_s)
    fleet = rows.fleet
    found: list[OpenMentor] = []
    for mentor_id, known in everybody:
        one = _open(mentor_id, known, rules, rows)
        if one is not None:
            found.append(one)
    found.sort(key=lambda one: (one.since_s is None, one.since_s or 0.0, one.mentor_id))
    return fleet, found


def _open(mentor_id: MentorId, known: Known, rules: Rules, rows: OpenRows) -> OpenMentor | None:
    fleet, row = rows.fleet, rows.since_and_trigger.get(mentor_id)
    held_s = rows.held_since_s.get(mentor_id)
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
    wanted = decision.operation.wanted if isinstance(decision, Command) else ledger.applied
    return OpenMentor(
        mentor_id,
        known.contact_id,
        cause,
        wanted and wanted.value,
        shown and shown.value,
        since_s,
        ledger.state and ledger.state.value,
        ledger.last_error_code,
        ledger.attempt_count,
        next_try_s(cause, ledger, fleet),
        row[1] if row else None,
    )
