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
from hlf_sync.postgres.statements import why as sql
from hlf_sync.telemetry.trace_parent import trace_id_of
from hlf_sync.why.timeline import Attempt, Moment, MomentKind, deliveries

# A mentor has some tens of them; one whose contact is broken may collect more in years.
MOST = 500


@dataclass(frozen=True, slots=True)
class Books:
    """One mentor's rows. `ledger` has its times in epoch seconds; None when there is no row."""

    ledger: dict[str, Any] | None
    moments: list[Moment]


async def mentor_of(pool: Pool, some_id: MentorId) -> MentorId:
    """The mentor whose Dynamics contact this is, unless it is a mentor's own id or nobody's."""
    with reaching("PostgreSQL"):
        async with pool.connection() as connection:
            values = {"id": some_id}
            row = await (await connection.execute(sql.IS_MENTOR, values)).fetchone()
            if row is not None and row[0]:
                return some_id
            found = await (await connection.execute(sql.OF_CONTACT, values)).fetchone()
    return MentorId(found[0]) if found else some_id


async def read(pool: Pool, mentor_id: MentorId) -> Books:
    """Read them all in one snapshot."""
    with reaching("PostgreSQL"):
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(sql.ONE_SNAPSHOT)
            attempts = [
                Attempt(**row)
                for row in await named_rows(connection, sql.ATTEMPTS, mentor_id, MOST)
            ]
            failures = await named_rows(connection, sql.FAILURES, mentor_id, MOST)
            requests = await named_rows(connection, sql.REQUESTS, mentor_id, MOST)
            held = await named_rows(connection, sql.HELD, mentor_id)
            closed = await named_rows(connection, sql.CLOSED, mentor_id, MOST)
            pauses = await named_rows(connection, sql.PAUSES, mentor_id, MOST)
            glass = await named_rows(connection, sql.BREAK_GLASS, mentor_id, MOST)
            ledger = await named_rows(connection, sql.LEDGER, mentor_id)
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
