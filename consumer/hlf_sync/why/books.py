"""What PostgreSQL knows of one mentor's past: attempts, dead letters, requests, what is held back;
and the fleet's state now. Reads only.

Called by `why`. Facts and ledger row are not read here but by the worker's own statement
(postgres/facts).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hlf_sync.core.model import MentorId
from hlf_sync.postgres.connections import NamedRow, Pool, named_rows, reaching
from hlf_sync.telemetry.trace_parent import trace_id_of
from hlf_sync.why.timeline import Attempt, Moment, MomentKind, deliveries

# A mentor has some tens of them; one whose contact is broken may collect more in years.
MOST = 500

_ATTEMPTS = """
SELECT attempt_number AS number, generation, operation, triggered_by, extract(epoch FROM started_at)::float8 AS started_s, duration_ms, outcome,
       error_code, http_status, correlation_id::text, reason, certification_id::text
  FROM (SELECT * FROM hlf_sync.delivery_attempt WHERE mentor_id = %s ORDER BY id DESC LIMIT %s) AS newest ORDER BY id
"""
_FAILURES = """
SELECT extract(epoch FROM attempted_at)::float8 AS at_s, extract(epoch FROM resolved_at)::float8 AS resolved_s, dead_letter_id, error_code,
       retry_count AS attempt_count, certification_id::text
  FROM hlf_sync.dynamics_sync_failures WHERE mentor_id = %s ORDER BY id DESC LIMIT %s
"""
_REQUESTS = """
SELECT extract(epoch FROM created_at)::float8 AS at_s, id AS request_id, triggered_by, requested_by, reason, dead_letter_id
  FROM hlf_sync.sync_request WHERE mentor_id = %s ORDER BY id DESC LIMIT %s
"""
_HELD = """
SELECT extract(epoch FROM held_at)::float8 AS at_s, extract(epoch FROM confirmed_at)::float8 AS confirmed_s, confirmed_by, reason
  FROM hlf_sync.held_removal WHERE mentor_id = %s
"""
_CLOSED = """
SELECT extract(epoch FROM closed_at)::float8 AS at_s, letter_id AS dead_letter_id, closed_by, reason
  FROM hlf_sync.closed_letter WHERE mentor_id = %s ORDER BY closed_at DESC LIMIT %s
"""
_PAUSES = """
SELECT extract(epoch FROM began_at)::float8 AS at_s, extract(epoch FROM ended_at)::float8 AS ended_s, began_by, ended_by, why, ended_why
  FROM hlf_sync.history WHERE kind = 'pause' AND subject = %s ORDER BY began_at DESC LIMIT %s
"""
_BREAK_GLASS = """
SELECT extract(epoch FROM began_at)::float8 AS at_s, shown, effect, error_code, http_status, correlation_id::text, called_by, reason
  FROM hlf_sync.break_glass_call WHERE mentor_id = %s ORDER BY began_at DESC LIMIT %s
"""
_LEDGER = """
SELECT applied, intended, state, generation, attempt_count, last_error_code, dead_letter_id, triggered_by, lease_owner,
       extract(epoch FROM lease_until)::float8 AS lease_until, extract(epoch FROM doubt_until)::float8 AS doubt_until,
       extract(epoch FROM reevaluate_at)::float8 AS reevaluate_at, extract(epoch FROM updated_at)::float8 AS updated_at, trace_parent
  FROM hlf_sync.mentor_ledger WHERE mentor_id = %s
"""


@dataclass(frozen=True, slots=True)
class Books:
    """One mentor's rows. `ledger` has its times in epoch seconds; None when there is no row."""

    ledger: dict[str, Any] | None
    moments: list[Moment]


async def read(pool: Pool, mentor_id: MentorId) -> Books:
    """Read them all in one snapshot."""
    with reaching("PostgreSQL"):
        async with pool.connection() as connection, connection.transaction():
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            attempts = [
                Attempt(**row) for row in await named_rows(connection, _ATTEMPTS, mentor_id, MOST)
            ]
            failures = await named_rows(connection, _FAILURES, mentor_id, MOST)
            requests = await named_rows(connection, _REQUESTS, mentor_id, MOST)
            held = await named_rows(connection, _HELD, mentor_id)
            closed = await named_rows(connection, _CLOSED, mentor_id, MOST)
            pauses = await named_rows(connection, _PAUSES, mentor_id, MOST)
            glass = await named_rows(connection, _BREAK_GLASS, mentor_id, MOST)
            ledger = await named_rows(connection, _LEDGER, mentor_id)
    moments = [
        *deliveries(attempts),
        *_letters(failures),
        *_asked(requests),
        *_guarded(held),
        *_moments(MomentKind.CLOSED, closed),
        *_paused(pauses),
        *_moments(MomentKind.BREAK_GLASS, glass),
    ]
    return Books(_row(ledger[0]) if ledger else None, moments)


def _row(found: NamedRow) -> dict[str, Any]:
    """Where the open delivery is traced, with its trace's id: what one pastes into the tracing
    tool.
    """
    trace_id = trace_id_of(found["trace_parent"])
    return {name: value for name, value in found.items() if name != "trace_parent"} | {
        "trace_id": trace_id
    }


def _moments(kind: MomentKind, rows: list[NamedRow]) -> Iterator[Moment]:
    for row in rows:
        yield Moment(
            row["at_s"], kind, {name: value for name, value in row.items() if name != "at_s"}
        )


def _asked(rows: list[NamedRow]) -> Iterator[Moment]:
    """A request without a requester came from the application."""
    for moment in _moments(MomentKind.REQUEST, rows):
        yield Moment(
            moment.at_s,
            moment.kind,
            {**moment.content, "requested_by": moment.content["requested_by"] or "application"},
        )


def _letters(rows: list[NamedRow]) -> Iterator[Moment]:
    for row in rows:
        if row["attempt_count"] == 0:  # no call was made, so the attempts tell of no decision
            yield Moment(
                row["at_s"],
                MomentKind.DECISION,
                {"decision": "refuse", "reason": row["error_code"], "triggered_by": None},
            )
        yield Moment(
            row["at_s"],
            MomentKind.DEAD_LETTER,
            {
                name: row[name]
                for name in ("dead_letter_id", "error_code", "attempt_count", "certification_id")
            },
        )
        if row["resolved_s"] is not None:
            yield Moment(
                row["resolved_s"], MomentKind.RESOLVED, {"dead_letter_id": row["dead_letter_id"]}
            )


def _guarded(rows: list[NamedRow]) -> Iterator[Moment]:
    for row in rows:
        yield Moment(row["at_s"], MomentKind.HELD, {})
        if row["confirmed_s"] is not None:
            yield Moment(
                row["confirmed_s"],
                MomentKind.CONFIRMED,
                {"confirmed_by": row["confirmed_by"], "reason": row["reason"]},
            )


def _paused(rows: list[NamedRow]) -> Iterator[Moment]:
    for row in rows:
        yield Moment(row["at_s"], MomentKind.PAUSED, {"by": row["began_by"], "reason": row["why"]})
        if row["ended_s"] is not None:
            told = {"by": row["ended_by"], "reason": row["ended_why"] or ""}
            yield Moment(row["ended_s"], MomentKind.UNPAUSED, told)
