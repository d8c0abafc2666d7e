"""Reminders before a certificate's end (requirement R65): who is due, written once, by one
statement from the facts view. Called by the nightly step and by `hlf-sync remind`.

Due is a mentor of a visible status with a valid certificate, when the days left by the calendar of
the time zone are at most a threshold of the mentor's organisation. Of several thresholds only the
smallest is meant, so that an outage is not followed by a burst. The primary key lets any number of
processes write at once; they write in one order, so that they do not deadlock.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from hlf_sync.core.model import MentorId
from hlf_sync.postgres.connections import array

Connection = AsyncConnection[Any]

# One pass over the view, whatever number of thresholds. CASE, because an end at infinity has no
# day, and PostgreSQL may compute before it filters.
_DUE = """
  WITH today AS MATERIALIZED (SELECT (hlf_sync.now() AT TIME ZONE %(zone)s)::date AS day),
  threshold AS MATERIALIZED (
    SELECT organization, array_agg(threshold_day ORDER BY threshold_day) AS days, max(threshold_day) AS widest
      FROM hlf_sync.reminder_threshold GROUP BY organization),
  ending AS (
    SELECT f.mentor_id, f.organization, f.certification_id, t.days, t.widest, today.day,
           CASE WHEN isfinite(f.certificate_expires_at)
                THEN (f.certificate_expires_at AT TIME ZONE %(zone)s)::date END AS expiry
      FROM hlf_sync.mentor_facts f JOIN threshold t USING (organization) CROSS JOIN today
     WHERE f.status = ANY (%(statuses)s::text[]) AND f.certificate_expires_at > hlf_sync.now()
       -- Roughly, before the calendar is asked: two days are more than any zone is away.
       AND f.certificate_expires_at < hlf_sync.now() + make_interval(days => t.widest + 2)),
  due AS (
    SELECT mentor_id, organization, certification_id, expiry, expiry - day AS days_left,
           (SELECT min(d) FROM unnest(days) AS d WHERE d >= expiry - day) AS threshold_day
      FROM ending WHERE expiry - day <= widest)
"""
_WRITE = (
    _DUE
    + """
INSERT INTO hlf_sync.cert_expiry_reminders (mentor_id, threshold_day, certification_expiry_date, organization, certification_id)
SELECT mentor_id, threshold_day, expiry, organization, certification_id FROM due ORDER BY mentor_id
    ON CONFLICT DO NOTHING
"""
)
_LIST = (
    _DUE
    + """
SELECT mentor_id::text, organization, threshold_day, days_left, expiry, certification_id::text FROM due
 WHERE NOT EXISTS (SELECT FROM hlf_sync.cert_expiry_reminders r
                    WHERE r.mentor_id = due.mentor_id AND r.threshold_day = due.threshold_day AND r.certification_expiry_date = due.expiry)
 ORDER BY days_left, mentor_id
"""
)
# Two of one threshold whose ends lie nearer to each other than the threshold is wide: the end was
# corrected, or the time zone changed, and the mentor was told the same twice.
_REPEATED = """
SELECT a.mentor_id::text, a.threshold_day, a.certification_expiry_date, b.certification_expiry_date
  FROM hlf_sync.cert_expiry_reminders a
  JOIN hlf_sync.cert_expiry_reminders b
    ON b.mentor_id = a.mentor_id AND b.threshold_day = a.threshold_day AND b.certification_expiry_date > a.certification_expiry_date
   AND b.certification_expiry_date - a.certification_expiry_date <= a.threshold_day
 WHERE greatest(a.created_at, b.created_at) > hlf_sync.now() - make_interval(days => %(days)s)
   AND (%(only)s::uuid[] IS NULL OR a.mentor_id = ANY (%(only)s::uuid[]))
 ORDER BY 1, 2, 3
"""
# A million certificates take some seconds; the pool's limit is for the small statements.
_LIMIT = "SET LOCAL statement_timeout = '10min'"


@dataclass(frozen=True, slots=True)
class Reminder:
    """One that is due and not written yet."""

    mentor_id: MentorId
    organization: str
    threshold_day: int
    days_left: int
    expiry_date: date
    certification_id: str | None


@dataclass(frozen=True, slots=True)
class RepeatedReminder:
    """A threshold that a mentor was reminded of twice within one certification's period."""

    mentor_id: MentorId
    threshold_day: int
    first_expiry: date
    again_expiry: date


async def write(connection: Connection, zone: str, statuses: Iterable[str]) -> int:
    """Write what is due; how many were new. Inside the caller's transaction."""
    await connection.execute(_LIMIT)
    return (await connection.execute(_WRITE, _values(zone, statuses))).rowcount


async def due(connection: Connection, zone: str, statuses: Iterable[str]) -> list[Reminder]:
    """What `write` would write. Inside the caller's transaction."""
    await connection.execute(_LIMIT)
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_LIST, _values(zone, statuses))
        return [Reminder(MentorId(row[0]), *row[1:]) for row in await cursor.fetchall()]


async def repeated(
    connection: Connection, days: int, only: list[MentorId]
) -> list[RepeatedReminder]:
    """Duplicates of the last days (requirement R63)."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_REPEATED, {"days": days, "only": only or None})
        return [RepeatedReminder(MentorId(row[0]), *row[1:]) for row in await cursor.fetchall()]


def _values(zone: str, statuses: Iterable[str]) -> dict[str, str]:
    return {"zone": zone, "statuses": array(sorted(statuses))}
