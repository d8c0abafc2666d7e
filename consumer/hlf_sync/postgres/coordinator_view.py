"""What the role hlf_web reads and writes: the view hlf_sync.coordinator_view, and requests.

Rows out, no meaning: that is core/open_update's. Used by the web service only.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, errors
from psycopg.rows import DictRow, dict_row

from hlf_sync.core.breaker import State
from hlf_sync.core.fleet_report import report_of
from hlf_sync.core.model import (
    ContactId,
    Facts,
    Former,
    Heir,
    Known,
    LedgerRow,
    LedgerState,
    Visibility,
)
from hlf_sync.core.open_update import Case, Conditions, next_probe_s
from hlf_sync.postgres.connections import Pool, array, reaching
from hlf_sync.postgres.statements import sync_request

_COLUMNS = """
SELECT mentor_id, is_listed, organization, status, extract(epoch FROM certificate_expires_at)::float8, applied, intended, state, attempt_count,
       last_error_code, triggered_by, extract(epoch FROM lease_until)::float8, extract(epoch FROM doubt_until)::float8,
       extract(epoch FROM reevaluate_at)::float8, extract(epoch FROM updated_at)::float8, extract(epoch FROM held_at)::float8, signature,
       extract(epoch FROM open_since)::float8, extract(epoch FROM last_delivered_at)::float8, certification_id::text, is_paused, formers
  FROM hlf_sync.coordinator_view
"""
_MAYBE_OPEN = (
    _COLUMNS
    + """ WHERE kind = 'mentor' AND (organization = %(organization)s OR has_ledger)
   AND signature <> ALL (%(closed)s::text[])"""
)
_SOME = _COLUMNS + " WHERE kind = 'mentor' AND mentor_id = ANY (%(mentors)s::uuid[])"
_FLEET = """
SELECT extract(epoch FROM at)::float8 AS now_s, content FROM hlf_sync.coordinator_view WHERE kind = 'fleet'
"""
_ATTEMPTS = """
SELECT at, attempt_count, last_error_code, triggered_by, content
  FROM hlf_sync.coordinator_view WHERE kind = 'attempt' AND mentor_id = %(mentor)s ORDER BY id DESC LIMIT %(limit)s
"""
_REQUESTS = """
SELECT id, mentor_id, at, requested_by, request_key, content FROM hlf_sync.coordinator_view WHERE kind = 'request'
"""
_DELIVERED_SINCE = """
SELECT EXISTS (SELECT FROM hlf_sync.coordinator_view WHERE kind = 'attempt' AND mentor_id = %(mentor)s AND at >= %(since)s
                  AND content->>'outcome' = 'applied') AS was_delivered
"""
_RECENT = """
SELECT count(*) AS count, coalesce(extract(epoch FROM min(at) + interval '60 s' - now()), 0)::float8 AS free_in_s
  FROM hlf_sync.coordinator_view WHERE kind = 'request' AND requested_by = %(subject)s
   AND at BETWEEN now() - interval '60 s' AND now() + interval '60 s'
"""

# So many rows are read and judged in some 2 ms.
_PIECE = 250

# The view says that there are former contacts, not which.
_WITHHELD = ContactId("withheld")

# Its notifications name mentors; those of hlf_sync_fleet name nothing.
LEDGER_CHANNEL = "hlf_sync_web"
# The bytes of "hlfsyncw"; migration 0070 has the same.
WATCHED = 0x686C6673796E6377


@dataclass(frozen=True, slots=True)
class MentorRow:
    """One mentor as the view has it. Times are epoch seconds."""

    mentor_id: UUID
    case: Case
    triggered_by: str | None
    signature: str
    last_delivered_s: float | None


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One coordinator's request."""

    id: int
    mentor_id: UUID
    at: Any
    requested_by: str | None
    key: str | None
    reason: str | None


class CoordinatorView:
    """Reads the view, writes requests. Each method raises `DependencyError` while PostgreSQL is
    away.
    """

    def __init__(
        self, pool: Pool, organization: str, *, cool_down_s: float, is_shadow: bool
    ) -> None:
        self._pool = pool
        self._organization = organization
        self._cool_down_s = cool_down_s
        self._is_shadow = is_shadow

    def maybe_open(self, closed: Collection[str]) -> AsyncIterator[list[MentorRow]]:
        """Every mentor of ours but those with one of these signatures, in pieces: between two of
        them others have their turn.
        """
        values = {"organization": self._organization, "closed": array(sorted(closed))}
        return self._mentors(_MAYBE_OPEN, values)

    async def some(self, mentor_ids: Collection[UUID]) -> list[MentorRow]:
        """These mentors, of whatever organisation."""
        pieces = self._mentors(_SOME, {"mentors": array(mentor_ids)})
        return [row async for rows in pieces for row in rows]

    async def conditions(self) -> Conditions:
        """What stands in the way of all."""
        row = (await self._rows(_FLEET, {}))[0]
        content = row["content"]
        circuit = (content["circuits"] or {}).get(self._organization) or {}
        state = State(circuit.get("state", "closed"))
        # A view of an older release has no reports.
        report = (content.get("reports") or {}).get(self._organization)
        pause_s, opened_s = circuit.get("pause_until_s"), circuit.get("opened_s")
        return Conditions(
            now_s=row["now_s"],
            halts=frozenset(content["halts"] or {}),
            circuit=state,
            circuit_until_s=next_probe_s(opened_s, pause_s, cool_down_s=self._cool_down_s),
            pause_until_s=pause_s,
            has_worker=content["has_worker"],
            is_shadow=self._is_shadow,
            report=report_of(report),
        )

    async def attempts(self, mentor_id: UUID, limit: int) -> list[DictRow]:
        """A mentor's calls, the newest first."""
        return await self._rows(_ATTEMPTS, {"mentor": mentor_id, "limit": limit})

    async def was_delivered_since(self, mentor_id: UUID, since: Any) -> bool:
        """Whether a call that began since then was applied."""
        values = {"mentor": mentor_id, "since": since}
        return bool((await self._rows(_DELIVERED_SINCE, values))[0]["was_delivered"])

    async def request(self, request_id: int) -> RequestRow | None:
        """One request."""
        return await self._request("AND id = %(id)s", {"id": request_id})

    async def request_of_key(self, key: str) -> RequestRow | None:
        """The request that was made under a key."""
        return await self._request("AND request_key = %(key)s", {"key": key})

    async def requests(self, limit: int, mentor_id: UUID | None = None) -> list[RequestRow]:
        """The newest first."""
        which = "AND mentor_id = %(mentor)s" if mentor_id else ""
        statement = f"{_REQUESTS} {which} ORDER BY id DESC LIMIT %(limit)s"
        rows = await self._rows(statement, {"mentor": mentor_id, "limit": limit})
        return [_request(row) for row in rows]

    async def recent(self, subject: str) -> tuple[int, float]:
        """How often a subject asked within the last minute, and in how many seconds one of these
        is older than that.
        """
        row = (await self._rows(_RECENT, {"subject": subject}))[0]
        return int(row["count"]), float(row["free_in_s"])

    async def ask(self, mentor_id: UUID, subject: str, reason: str, key: str) -> bool:
        """Write a request; false when there is one of this key."""
        values = {"mentor": mentor_id, "subject": subject, "reason": reason, "key": key}
        try:
            with reaching("PostgreSQL"):
                async with self._pool.connection() as connection:
                    await connection.execute(sync_request.BY_COORDINATOR, values)
        except errors.UniqueViolation:
            return False
        return True

    async def _request(self, which: str, values: dict[str, Any]) -> RequestRow | None:
        rows = await self._rows(f"{_REQUESTS} {which}", values)
        return _request(rows[0]) if rows else None

    async def _rows(self, statement: str, values: dict[str, Any]) -> list[DictRow]:
        with reaching("PostgreSQL"):
            async with (
                self._pool.connection() as connection,
                connection.cursor(row_factory=dict_row) as cursor,
            ):
                await cursor.execute(statement.encode(), values)
                return await cursor.fetchall()

    async def _mentors(
        self, statement: str, values: dict[str, Any]
    ) -> AsyncIterator[list[MentorRow]]:
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection, connection.cursor() as cursor:
                await cursor.execute(statement.encode(), values)
                while rows := await cursor.fetchmany(_PIECE):
                    yield [_mentor(row) for row in rows]
                    await asyncio.sleep(0)


async def listen(connection: AsyncConnection[Any]) -> None:
    """Hear of the ledger's changes and of the fleet's."""
    await connection.execute(f"LISTEN {LEDGER_CHANNEL}".encode())
    await connection.execute("LISTEN hlf_sync_fleet")


async def be_told(connection: AsyncConnection[Any]) -> bool:
    """Say that somebody listens, for as long as the connection stands: workers tell nobody of their
    changes else (migration 0070). False while a transaction of theirs is in the way: ask again.
    """
    cursor = await connection.execute("SELECT pg_try_advisory_lock_shared(%s)", (WATCHED,))
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def be_untold(connection: AsyncConnection[Any]) -> None:
    """Hear no more of the ledger's changes, until `be_told`."""
    await connection.execute("SELECT pg_advisory_unlock_shared(%s)", (WATCHED,))


def _mentor(row: Sequence[Any]) -> MentorRow:
    (
        mentor_id,
        is_listed,
        organization,
        status,
        expires_s,
        applied,
        intended,
        state,
        attempt_count,
        error_code,
        triggered_by,
        lease_s,
        doubt_s,
        reevaluate_s,
        updated_s,
        held_s,
        signature,
        open_since_s,
        delivered_s,
        certification_id,
        is_paused,
        formers,
    ) = row
    ledger = LedgerRow(
        Visibility(applied) if applied else None,
        Visibility(intended) if intended else None,
        LedgerState(state) if state else None,
        attempt_count=attempt_count,
        lease_until_s=lease_s,
        doubt_until_s=doubt_s,
        reevaluate_at_s=reevaluate_s,
        last_error_code=error_code,
    )
    facts = Facts(organization, status, certification_id, expires_s) if is_listed else None
    known = Known(
        facts,
        ledger,
        has_ledger=state is not None,
        contact_id=None,
        formers=tuple(map(_former, formers or ())),
        is_paused=is_paused,
    )
    case = Case(known=known, held_s=held_s, updated_s=updated_s, began_s=open_since_s)
    return MentorRow(mentor_id, case, triggered_by, signature, delivered_s)


def _former(content: dict[str, Any]) -> Former:
    heir = content["heir"]
    return Former(
        _WITHHELD,
        _heir(heir) if heir else None,
        is_left_visible=content["is_left_visible"] is True,
        is_hidden=content["is_hidden"] is True,
    )


def _heir(content: dict[str, Any]) -> Heir:
    expires = content["expires_s"]  # text: JSON has no infinity
    facts = Facts(
        content["organization"],
        content["status"],
        content["certification_id"],
        None if expires is None else float(expires),
    )
    applied, intended, state = content["applied"], content["intended"], content["state"]
    ledger = LedgerRow(
        Visibility(applied) if applied else None,
        Visibility(intended) if intended else None,
        LedgerState(state) if state else None,
    )
    return Heir(facts if content["is_listed"] else None, ledger)


def _request(row: DictRow) -> RequestRow:
    return RequestRow(
        row["id"],
        row["mentor_id"],
        row["at"],
        row["requested_by"],
        row["request_key"],
        row["content"]["reason"],
    )
