"""Reminders before a certificate's end, on a real PostgreSQL whose clock the tests drive: the table
of examples, any number of writers, and the truth beside a hundred thousand certificates.
"""

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hlf_sync.core.decide import Rules, decide
from hlf_sync.core.model import Facts, LedgerRow, NoCall, Visibility
from hlf_sync.postgres import reminders
from hlf_sync.postgres.connections import connect

from tests.fixtures.cluster import Cluster
from tests.fixtures.driven_clock import DrivenClock

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R65")]

OSLO = "Europe/Oslo"
STATUSES = Rules().visible_statuses


@dataclass
class Town:
    """A database, its clock, and whoever writes reminders in it."""

    dsn: str
    admin: psycopg.Connection[tuple[object, ...]]
    clock: DrivenClock

    def mentor(self, ends: str | None, *, status: str = "active", code: str = "HLF") -> UUID:
        """A mentor, with a certificate that ends then."""
        mentor_id = uuid4()
        self.admin.execute(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, %s, %s)",
            (mentor_id, code, status),
        )
        if ends is not None:
            self.certificate(mentor_id, ends)
        return mentor_id

    def certificate(self, mentor_id: UUID, ends: str, status: str = "valid") -> UUID:
        """One more certificate."""
        certification_id = uuid4()
        self.admin.execute(
            "INSERT INTO app.certification VALUES (%s, %s, %s, %s)",
            (certification_id, mentor_id, status, ends),
        )
        return certification_id

    async def remind(self, now: str | None = None, zone: str = OSLO) -> int:
        """The statement, as `hlf-sync remind` runs it."""
        if now is not None:
            self.clock.set(datetime.fromisoformat(now))
        async with await connect(self.dsn) as connection, connection.transaction():
            return await reminders.write(connection, zone, STATUSES)

    def written(self) -> list[tuple[object, ...]]:
        """Mentor, threshold, end."""
        return self.admin.execute(
            "SELECT mentor_id, threshold_day, certification_expiry_date"
            " FROM hlf_sync.cert_expiry_reminders ORDER BY created_at, threshold_day DESC, mentor_id"
        ).fetchall()

    def days(self) -> list[tuple[object, ...]]:
        """Threshold and end only."""
        return [row[1:] for row in self.written()]


@pytest.fixture
def town(cluster: Cluster, database: str) -> Iterator[Town]:
    """A fresh one."""
    with psycopg.connect(cluster.dsn(database), autocommit=True) as admin:
        yield Town(cluster.dsn(database, "hlf_sync"), admin, DrivenClock(admin))


MARCH = date(2027, 3, 31)
# The end, the moments at which reminders are written (UTC), and what is written in all.
EXAMPLES = {
    "not yet": ("2027-03-31 12:00Z", ["2027-02-28T12:00Z"], []),
    "thirty days before": ("2027-03-31 12:00Z", ["2027-03-01T12:00Z"], [(30, MARCH)]),
    "the same night twice": (
        "2027-03-31 12:00Z",
        ["2027-03-01T02:00Z", "2027-03-01T02:01Z"],
        [(30, MARCH)],
    ),
    "each threshold in its time": (
        "2027-03-31 12:00Z",
        [f"2027-03-{day:02}T01:30Z" for day in range(1, 31)],
        [(30, MARCH), (14, MARCH), (7, MARCH)],
    ),
    "late: only the smallest, no burst": (
        "2027-03-31 12:00Z",
        ["2027-03-25T12:00Z"],
        [(7, MARCH)],
    ),
    "late between two: the wider one": ("2027-03-31 12:00Z", ["2027-03-18T12:00Z"], [(14, MARCH)]),
    "on its last day": ("2027-03-31 12:00Z", ["2027-03-31T11:59Z"], [(7, MARCH)]),
    "at its end it is too late": ("2027-03-31 12:00Z", ["2027-03-31T12:00Z"], []),
    "after its end": ("2027-03-31 12:00Z", ["2027-04-02T12:00Z"], []),
    # 22:30 UTC is half past midnight of the next day in Oslo, in summer.
    "the day is the local one": (
        "2027-06-30 22:30Z",
        ["2027-06-01T12:00Z"],
        [(30, date(2027, 7, 1))],
    ),
    "today is the local one": (
        "2027-07-30 12:00Z",
        ["2027-06-29T22:30Z"],
        [(30, date(2027, 7, 30))],
    ),
    "an end at local midnight is of the day that begins": (
        "2027-03-14 23:00Z",
        ["2027-03-08T01:00Z"],
        [(7, date(2027, 3, 15))],
    ),
    "an hour before midnight is a day less": (
        "2027-03-14 22:00Z",
        ["2027-03-08T01:00Z"],
        [(7, date(2027, 3, 14))],
    ),
    "leap day": ("2028-02-29 12:00Z", ["2028-01-30T12:00Z"], [(30, date(2028, 2, 29))]),
    "over the leap day": ("2028-03-01 12:00Z", ["2028-02-22T12:00Z"], [(14, date(2028, 3, 1))]),
    "over the spring change": ("2027-04-04 00:30Z", ["2027-03-28T00:30Z"], [(7, date(2027, 4, 4))]),
    "over the autumn change": (
        "2027-11-07 00:30Z",
        ["2027-10-31T00:30Z"],
        [(7, date(2027, 11, 7))],
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
async def test_a_reminder_is_due_as_the_example_says(town: Town, name: str) -> None:
    ends, moments, expected = EXAMPLES[name]
    town.mentor(ends)
    for moment in moments:
        await town.remind(moment)
    assert town.days() == expected


@pytest.mark.parametrize("status", ["paused", "expired_cert", "unheard_of"])
async def test_only_a_visible_status_is_reminded(town: Town, status: str) -> None:
    town.mentor("2027-01-05 12:00Z", status=status)
    reinstated = town.mentor("2027-01-05 12:00Z", status="reinstated")
    assert await town.remind() == 1
    assert [row[0] for row in town.written()] == [reinstated]


async def test_one_who_was_paused_meanwhile_gets_what_is_due_at_reinstatement(town: Town) -> None:
    mentor_id = town.mentor("2027-03-31 12:00Z", status="paused")
    await town.remind("2027-03-01T12:00Z")
    town.admin.execute("UPDATE app.mentor SET status = 'reinstated' WHERE id = %s", (mentor_id,))
    await town.remind("2027-03-20T12:00Z")
    assert town.days() == [(14, MARCH)]


async def test_a_renewal_begins_anew(town: Town) -> None:
    mentor_id = town.mentor("2027-03-31 12:00Z")
    await town.remind("2027-03-01T12:00Z")
    town.certificate(mentor_id, "2028-03-31 12:00Z")
    await town.remind("2027-03-20T12:00Z")
    await town.remind("2028-03-01T12:00Z")
    assert town.days() == [(30, MARCH), (30, date(2028, 3, 31))]


async def test_a_revoked_renewal_does_not_hide_the_end_of_the_older_one(town: Town) -> None:
    mentor_id = town.mentor("2027-03-31 12:00Z")
    town.certificate(mentor_id, "2028-03-31 12:00Z", status="revoked")
    await town.remind("2027-03-01T12:00Z")
    assert town.days() == [(30, MARCH)]


async def test_a_deleted_mentor_is_not_reminded_again(town: Town) -> None:
    mentor_id = town.mentor("2027-03-31 12:00Z")
    await town.remind("2027-03-01T12:00Z")
    town.admin.execute("DELETE FROM app.mentor WHERE id = %s", (mentor_id,))
    assert await town.remind("2027-03-20T12:00Z") == 0


async def test_odd_ends_stop_nobody_else(town: Town) -> None:
    """Without an end, without a certificate, at the end of time: each alone, and the next mentor is
    reminded.
    """
    town.mentor("infinity")
    town.mentor("-infinity")
    town.mentor("9999-12-31 00:00Z")
    town.mentor("0044-03-15 00:00Z BC")
    town.mentor(None)
    good = town.mentor("2027-01-05 12:00Z")
    await town.remind()
    assert [row[0] for row in town.written()] == [good]


async def test_another_organisations_thresholds_are_rows_and_no_code(town: Town) -> None:
    town.mentor("2027-03-01 12:00Z", code="XYZ")
    assert await town.remind("2027-01-15T12:00Z") == 0
    town.admin.execute("INSERT INTO hlf_sync.reminder_threshold VALUES ('XYZ', 60), ('XYZ', 0)")
    assert await town.remind("2027-01-15T12:00Z") == 1
    assert await town.remind("2027-03-01T01:00Z") == 1
    assert town.days() == [(60, date(2027, 3, 1)), (0, date(2027, 3, 1))]


async def test_the_zone_decides_which_day_it_is(town: Town) -> None:
    town.mentor("2027-03-31 23:30Z")
    await town.remind("2027-03-02T12:00Z", zone="UTC")
    await town.remind("2027-03-02T12:00Z", zone="Pacific/Kiritimati")
    assert town.days() == [(30, date(2027, 3, 31)), (30, date(2027, 4, 1))]


@pytest.mark.requirement("R63")
async def test_the_same_reminder_for_a_corrected_end_is_told_as_a_duplicate(town: Town) -> None:
    """And a renewal by a year is none."""
    again, renewed = town.mentor("2027-01-20 12:00Z"), town.mentor("2027-01-20 12:00Z")
    await town.remind()
    move = "UPDATE app.certification SET expires_at = %s WHERE mentor_id = %s"
    town.admin.execute(move, ("2027-01-21 12:00Z", again))
    town.admin.execute(move, ("2028-01-20 12:00Z", renewed))
    await town.remind()
    await town.remind("2027-12-30T12:00Z")
    async with await connect(town.dsn) as connection:
        found = await reminders.repeated(connection, 365, [])
        narrowed = await reminders.repeated(connection, 365, [str(renewed)])  # type: ignore[list-item]
    assert [(one.mentor_id, one.threshold_day) for one in found] == [(str(again), 30)]
    assert narrowed == []


async def test_dry_shows_what_would_be_written_and_writes_nothing(town: Town) -> None:
    mentor_id = town.mentor("2027-01-08 12:00Z")
    async with await connect(town.dsn) as connection, connection.transaction():
        (one,) = await reminders.due(connection, OSLO, STATUSES)
    assert (one.mentor_id, one.threshold_day, one.days_left) == (str(mentor_id), 7, 7)
    assert town.written() == []
    await town.remind()
    async with await connect(town.dsn) as connection, connection.transaction():
        assert await reminders.due(connection, OSLO, STATUSES) == []


POPULATION = """
INSERT INTO app.mentor (id, organization_code, status)
SELECT md5(n::text)::uuid, (ARRAY['HLF', 'HLF', 'HLF', 'XYZ'])[1 + n %% 4],
       (ARRAY['active', 'reinstated', 'paused', 'active', 'expired_cert'])[1 + n %% 5]
  FROM generate_series(1, %(count)s) n;
INSERT INTO app.certification
SELECT gen_random_uuid(), md5(n::text)::uuid, CASE WHEN n %% 11 = 0 THEN 'revoked' ELSE 'valid' END,
       '2027-01-01 12:00Z'::timestamptz + make_interval(secs => (n * 7919) %% (50 * 86400) - 86400)
  FROM generate_series(1, %(count)s) n WHERE n %% 13 <> 0;
ANALYZE app.mentor; ANALYZE app.certification;
"""


def populate(town: Town, count: int) -> None:
    """So many mentors, most with a certificate that ends within fifty days."""
    town.admin.execute((POPULATION % {"count": count}).encode())


def truth(town: Town) -> set[tuple[object, ...]]:
    """Who is due, told by the rules of `core` and by Python's calendar."""
    now = town.clock.now
    found: set[tuple[object, ...]] = set()
    today = now.astimezone(ZoneInfo(OSLO)).date()
    in_step = LedgerRow(applied=Visibility.VISIBLE)
    for mentor_id, organization, status, end in town.admin.execute(
        "SELECT mentor_id, organization, status, certificate_expires_at FROM hlf_sync.mentor_facts"
    ):
        assert end is None or isinstance(end, datetime)
        facts = Facts(organization, status, None, end and end.timestamp(), None)  # type: ignore[arg-type]
        decision = decide(facts, in_step, now.timestamp(), Rules())
        if end is None or not isinstance(decision, NoCall) or decision.reason != "in_sync":
            continue
        expiry = end.astimezone(ZoneInfo(OSLO)).date()
        left = (expiry - today).days
        threshold = min((day for day in (30, 14, 7) if day >= left), default=None)
        if threshold is not None:
            found.add((mentor_id, threshold, expiry))
    return found


async def test_reminders_equal_the_truth_over_a_hundred_thousand_certificates(town: Town) -> None:
    populate(town, 100_000)
    town.clock.set(datetime(2027, 1, 1, 12, tzinfo=UTC))
    written = await town.remind()
    assert written > 10_000
    assert set(town.written()) == truth(town)


async def test_ten_writers_at_once_write_each_reminder_once(town: Town) -> None:
    populate(town, 5_000)
    counts = await asyncio.gather(*(town.remind() for _ in range(10)))
    assert sum(counts) == len(town.written())
    assert set(town.written()) == truth(town)


async def test_a_writer_that_is_killed_anywhere_leaves_all_or_nothing(town: Town) -> None:
    """Its backend is terminated at a random moment; the next one writes what is left."""
    populate(town, 5_000)
    town.admin.execute("DELETE FROM hlf_sync.cert_expiry_reminders")
    lottery = random.Random(7)  # noqa: S311
    for _ in range(10):
        task = asyncio.create_task(town.remind())
        await asyncio.sleep(lottery.uniform(0, 0.08))
        town.admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'hlf_sync' AND datname = current_database()"
        )
        with suppress(psycopg.Error):
            await task
        assert len(town.written()) in {0, len(truth(town))}
        town.admin.execute("DELETE FROM hlf_sync.cert_expiry_reminders")
    await town.remind()
    assert set(town.written()) == truth(town)


async def test_one_pass_over_the_mentors_serves_all_thresholds(town: Town) -> None:
    populate(town, 2_000)
    town.admin.execute(
        "INSERT INTO hlf_sync.reminder_threshold SELECT 'HLF', d FROM generate_series(31, 60) d"
    )
    explained = town.admin.execute(
        b"EXPLAIN "
        + (reminders._WRITE % {"zone": f"'{OSLO}'", "statuses": "'{active,reinstated}'"}).encode()
    ).fetchall()
    scans = [line for (line,) in explained if "on mentor" in str(line)]
    assert len(scans) == 1
