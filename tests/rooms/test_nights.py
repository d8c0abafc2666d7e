"""The nightly work on a real PostgreSQL whose clock the tests drive: a year of nights with workers
that die, steps that fail, the lock, and the command.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hlf_sync.break_glass.roster import read_roster
from hlf_sync.config.loading import load
from hlf_sync.config.settings import Settings
from hlf_sync.core.decide import Rules, decide, next_look_s
from hlf_sync.core.model import Command, MentorId
from hlf_sync.core.nightly import MOST_ATTEMPTS, RETRY_AFTER_S, Mark, Outcome
from hlf_sync.errors import AuthError, HaltError, SettingsError
from hlf_sync.nightly import clockwork as clockwork_module
from hlf_sync.nightly import sweep as sweep_module
from hlf_sync.nightly.clockwork import Clockwork
from hlf_sync.nightly.step import Counts, NightTools, Progress, Skip, Step
from hlf_sync.nightly.steps import STEPS
from hlf_sync.pipeline.patience import Dependencies
from hlf_sync.postgres.connections import open_pool
from hlf_sync.postgres.facts import FactsView
from hlf_sync.postgres.nightly import marks
from hlf_sync.telemetry.metrics import Metrics
from hlf_sync.watch.night_watch import NightWatch
from hlf_sync.worker import scheduler as leader_module
from hlf_sync.worker.scheduler import Scheduler

from tests.fixtures.cluster import Cluster
from tests.fixtures.command import command
from tests.fixtures.driven_clock import DrivenClock

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R08")]

OSLO = ZoneInfo("Europe/Oslo")
BY_NAME = {step.name: step for step in STEPS}
INSIDE = (BY_NAME["sweep"], BY_NAME["reminders"], BY_NAME["pruning"])
"""The steps that need nothing but PostgreSQL."""

Row = tuple[Any, ...]


@dataclass
class WorkerOfTheNight:
    """A leader's clock and the nightly work beside it, as in a worker."""

    scheduler: Scheduler
    clockwork: Clockwork
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        self.tasks = [
            asyncio.create_task(self.scheduler.run()),
            asyncio.create_task(self.clockwork.run()),
        ]

    async def die(self) -> None:
        """At once, whatever it is at."""
        for task in self.tasks:
            task.cancel()
        for task in self.tasks:
            with suppress(asyncio.CancelledError, psycopg.Error):
                await task
        self.tasks = []


@dataclass
class Town:
    """A database, its clock, and the workers."""

    cluster: Cluster
    database: str
    admin: psycopg.Connection[Row]
    clock: DrivenClock
    settings: Settings
    workers: list[WorkerOfTheNight] = field(default_factory=list)

    @property
    def dsn(self) -> str:
        return self.cluster.dsn(self.database, "hlf_sync")

    def hire(self, steps: tuple[Step, ...] = INSIDE) -> WorkerOfTheNight:
        scheduler = Scheduler(lambda: self.dsn, Dependencies(), is_live=True)
        clockwork = Clockwork(
            self.settings, None, lambda: self.dsn, lambda: scheduler.is_leader, lambda: steps
        )
        worker = WorkerOfTheNight(scheduler, clockwork)
        worker.start()
        self.workers.append(worker)
        return worker

    async def fire(self, worker: WorkerOfTheNight) -> None:
        self.workers.remove(worker)
        await worker.die()

    def kill_backends(self) -> None:
        """Every connection of the workers' breaks."""
        self.admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'hlf_sync' AND datname = current_database()"
        )

    def mentor(self, ends: datetime | None = None, status: str = "active") -> MentorId:
        mentor_id = uuid4()
        self.admin.execute(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', %s)",
            (mentor_id, status),
        )
        if ends is not None:
            self.admin.execute(
                "INSERT INTO app.certification VALUES (%s, %s, 'valid', %s)",
                (uuid4(), mentor_id, ends),
            )
        return MentorId(str(mentor_id))

    def one(self, statement: str, *values: object) -> Any:
        row = self.admin.execute(statement, values).fetchone()
        return None if row is None else row[0]

    def nights(self) -> dict[date, bool]:
        """Dates, and whether each is finished."""
        rows = self.admin.execute(
            "SELECT run_date, finished_at IS NOT NULL FROM hlf_sync.nightly_run ORDER BY 1"
        )
        return dict(rows.fetchall())

    def counts(self, run_date: date) -> dict[str, Any]:
        found = self.one("SELECT counts FROM hlf_sync.nightly_run WHERE run_date = %s", run_date)
        return dict(found)

    def asked(self) -> int:
        """Requests of all sweeps so far."""
        return int(
            self.one("SELECT count(*) FROM hlf_sync.sync_request WHERE requested_by = 'nightly'")
        )

    def at(self, day: date, hour: int, minute: int, second: int = 0, *, fold: int = 0) -> None:
        """Let the wall clock in Oslo show this."""
        local = datetime.combine(day, time(hour, minute, second), OSLO).replace(fold=fold)
        self.clock.set(local.astimezone(UTC))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.01)

    async def turns(self) -> None:
        """The leader has looked at the clock since: twice, to be sure that a look began after."""
        for _ in range(2):
            before = self.looks
            await self.until(lambda before=before: self.looks > before)  # type: ignore[misc]

    looks: int = 0


@pytest.fixture
async def town(
    cluster: Cluster, database: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Town]:
    """Everybody in a hurry."""
    monkeypatch.setattr(clockwork_module, "TURN_S", 0.012)
    monkeypatch.setattr(clockwork_module, "_LOOK_S", 0.02)
    monkeypatch.setattr(leader_module, "TURN_S", 0.02)
    monkeypatch.setattr(sweep_module, "PAGE", 7)
    monkeypatch.setattr(sweep_module, "PAUSE_S", 0.0)
    with psycopg.connect(cluster.dsn(database), autocommit=True) as admin:
        settings = load(environ={"HLF_SYNC_POSTGRES_DSN": cluster.dsn(database, "hlf_sync")})
        town = Town(cluster, database, admin, DrivenClock(admin), settings)
        due = Clockwork._due

        async def counted(self: Clockwork, place: NightTools, at: time) -> Any:
            found = await due(self, place, at)
            town.looks += 1
            return found

        monkeypatch.setattr(Clockwork, "_due", counted)
        yield town
        for worker in list(town.workers):
            await town.fire(worker)


async def deliver(town: Town) -> None:
    """A consumer in small: each request leads to a look, and what is decided stands in the ledger,
    with the time of the next look.
    """
    rules, last = Rules(), 0
    async with open_pool(town.cluster.dsn(town.database), size=1) as pool:
        view = FactsView(pool)
        while True:
            async with pool.connection() as connection:
                cursor = await connection.execute(
                    "SELECT id, mentor_id::text FROM hlf_sync.sync_request WHERE id > %s ORDER BY 1",
                    (last,),
                )
                rows = await cursor.fetchall()
            if rows:
                last = rows[-1][0]
                reading = await view.read(list({MentorId(row[1]) for row in rows}))
                async with pool.connection() as connection:
                    for mentor_id, known in reading.mentors.items():
                        decision = decide(known.facts, known.ledger, reading.now_s, rules)
                        applied = known.ledger.applied
                        if isinstance(decision, Command):
                            applied = decision.operation.wanted
                        await connection.execute(
                            "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, reevaluate_at)"
                            " VALUES (%s, %s, 'in_sync', to_timestamp(%s)) ON CONFLICT (mentor_id) DO UPDATE"
                            " SET applied = excluded.applied, reevaluate_at = excluded.reevaluate_at",
                            (
                                mentor_id,
                                applied and applied.value,
                                next_look_s(known.facts, reading.now_s, rules),
                            ),
                        )
            await asyncio.sleep(0.01)


@pytest.mark.timeout(400)
@pytest.mark.requirement("R06")
@pytest.mark.requirement("R65")
async def test_a_year_of_nights_with_workers_that_die(town: Town) -> None:
    """Over both daylight changes: each night once with everybody compared once, each reminder
    once, each certificate's end seen while its minute lasts.
    """
    lottery = random.Random(2027)  # noqa: S311
    first, last = date(2027, 1, 2), date(2028, 1, 1)
    ends = {
        town.mentor(end): end
        for end in (
            datetime(2027, 1, 2, tzinfo=UTC) + timedelta(seconds=lottery.randrange(364 * 86_400))
            for _ in range(60)
        )
    }
    town.at(date(2027, 1, 1), 12, 0)
    town.admin.execute(REMEMBER.encode())
    consumer = asyncio.create_task(deliver(town))
    for _ in range(3):
        town.hire()
    await town.until(lambda: town.nights() == {date(2027, 1, 1): True})  # nothing was done yet
    town.admin.execute(
        "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by) SELECT id, 'reconciliation' FROM app.mentor"
    )
    listed = "SELECT count(*) FROM hlf_sync.mentor_ledger WHERE applied = 'visible'"
    await town.until(lambda: town.one(listed) == len(ends))

    expected, shown = {date(2027, 1, 1): True}, dict(ends)
    day = first
    while day <= last:
        is_away = day.day in {20, 21} and day.month % 3 == 0
        if is_away:
            for worker in list(town.workers):
                await town.fire(worker)
        elif not town.workers:
            for _ in range(2):
                town.hire()
            missed = day - timedelta(days=1)  # the last one only is made up for
            await town.until(lambda missed=missed: town.nights().get(missed, False))  # type: ignore[misc]
            expected[missed] = True
            assert town.counts(missed)["sweep"]["compared"] == len(ends)
        await over(town, day, shown, is_away=is_away)
        if not is_away:
            if lottery.random() < 0.25:
                await strike(town, lottery)
            expected[day] = True
            await town.until(lambda day=day: town.nights().get(day, False))  # type: ignore[misc]
            assert town.counts(day)["sweep"]["compared"] == len(ends), day
        day += timedelta(days=1)
    consumer.cancel()
    assert town.nights() == expected
    written = town.admin.execute("SELECT mentor_id::text, threshold_day FROM driven.reminded")
    found = written.fetchall()
    assert len(found) == len(set(found))
    assert set(found) == reminders_due(ends, set(expected) - {date(2027, 1, 1)})


# Old ones are pruned within the year.
REMEMBER = """
CREATE TABLE driven.reminded AS SELECT mentor_id, threshold_day FROM hlf_sync.cert_expiry_reminders;
CREATE FUNCTION driven.remember() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN INSERT INTO driven.reminded VALUES (NEW.mentor_id, NEW.threshold_day); RETURN NULL; END $$;
CREATE TRIGGER remember AFTER INSERT ON hlf_sync.cert_expiry_reminders FOR EACH ROW EXECUTE FUNCTION driven.remember();
"""


def reminders_due(ends: dict[MentorId, datetime], nights: Iterable[date]) -> set[Row]:
    """For each night that was, each mentor's smallest threshold."""
    found = set()
    for night in nights:
        for mentor_id, end in ends.items():
            left = (end.astimezone(OSLO).date() - night).days
            threshold = min((day for day in (30, 14, 7) if day >= left), default=None)
            if threshold is not None and end > datetime.combine(night, time(2, 30), OSLO):
                found.add((str(mentor_id), threshold))
    return found


async def over(town: Town, day: date, shown: dict[MentorId, datetime], *, is_away: bool) -> None:
    """The clock goes on to this day's night, stopping at each certificate's end on its way."""
    night = datetime.combine(day, time(2, 30), OSLO).astimezone(UTC)
    if day == date(2027, 3, 28):  # 02:30 does not exist: the clock jumps from 02:00 to 03:00
        night = datetime(2027, 3, 28, 1, 0, tzinfo=UTC)
    for mentor_id, end in sorted(shown.items(), key=lambda item: item[1]):
        if end >= night or is_away:
            break
        if end > town.clock.now:
            town.clock.set(end - timedelta(seconds=1))
        assert applied(town, mentor_id) == "visible" or end < town.clock.now
        town.clock.set(max(town.clock.now, end + timedelta(seconds=59)))
        await town.until(lambda mentor_id=mentor_id: applied(town, mentor_id) == "hidden")  # type: ignore[misc]
        del shown[mentor_id]
    if town.clock.now < night - timedelta(seconds=1):
        town.clock.set(night - timedelta(seconds=1))
        if not is_away:
            await town.turns()
        assert day not in town.nights()
    town.clock.set(max(town.clock.now, night))
    if day == date(2027, 10, 31):  # 02:30 comes twice, and the second time begins nothing
        await town.until(lambda: town.nights().get(day, False))
        for minute in (0, 15, 30, 45):
            town.at(day, 2, minute, fold=1)
            await town.turns()
            assert list(town.nights())[-1] == day


def applied(town: Town, mentor_id: MentorId) -> str:
    return str(
        town.one("SELECT applied FROM hlf_sync.mentor_ledger WHERE mentor_id = %s", mentor_id)
    )


async def strike(town: Town, lottery: random.Random) -> None:
    """Some moment of the night: connections break, a worker dies, another one comes."""
    await asyncio.sleep(lottery.uniform(0, 0.03))
    town.kill_backends()
    await town.fire(lottery.choice(town.workers))
    town.hire()


def flaky(name: str, failures: int, told: list[str]) -> Step:
    """A step that fails so many times."""
    left = [failures]

    async def run(_place: NightTools, _progress: Progress) -> Counts | Skip:
        told.append(name)
        if left[0]:
            left[0] -= 1
            raise AuthError("invalid_client")
        return {"tries": failures + 1}

    return Step(name, run)


NIGHT = date(2027, 5, 5)


async def begin(town: Town, steps: tuple[Step, ...]) -> None:
    """The night of NIGHT comes, with a worker that leads."""
    town.at(NIGHT - timedelta(days=1), 12, 0)
    town.hire(steps)
    await town.until(lambda: bool(town.nights()))
    town.at(NIGHT, 2, 30)


async def test_a_step_that_fails_stops_no_other_and_is_tried_again_within_the_night(
    town: Town,
) -> None:
    told: list[str] = []
    await begin(town, (flaky("first", 2, told), flaky("second", 0, told)))
    await town.until(lambda: town.nights().get(NIGHT) is False and "second" in told)
    await town.turns()
    assert told == ["first", "second"]
    found = town.counts(NIGHT)["first"]
    assert (found["outcome"], found["error"]) == ("failed", "credentials refused: invalid_client")
    for tries in (2, 3):
        town.clock.advance(timedelta(seconds=RETRY_AFTER_S[tries - 2]))
        await town.until(lambda tries=tries: told.count("first") == tries)  # type: ignore[misc]
    await town.until(lambda: town.nights()[NIGHT])
    assert town.counts(NIGHT)["first"]["outcome"] == "done"
    assert told.count("second") == 1


async def test_a_step_that_never_succeeds_is_given_up_and_the_night_is_over(town: Town) -> None:
    told: list[str] = []
    await begin(town, (flaky("first", 99, told),))
    for wait_s in (*RETRY_AFTER_S, 0):
        tries = len(told)
        await town.until(lambda tries=tries: len(told) > tries or tries == MOST_ATTEMPTS)  # type: ignore[misc]
        town.clock.advance(timedelta(seconds=wait_s))
    await town.until(lambda: town.nights()[NIGHT])
    assert len(told) == MOST_ATTEMPTS
    assert town.counts(NIGHT)["first"]["outcome"] == "given_up"


async def test_a_sweep_that_is_killed_goes_on_behind_its_last_page(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is asked for twice."""
    for _ in range(40):
        town.mentor()
    monkeypatch.setattr(sweep_module, "PAUSE_S", 0.05)
    await begin(town, INSIDE)
    for pages in (1, 3, 4):
        await town.until(lambda pages=pages: town.asked() >= pages * 7)  # type: ignore[misc]
        town.kill_backends()
    await town.until(lambda: town.nights()[NIGHT])
    asked = town.admin.execute("SELECT mentor_id FROM hlf_sync.sync_request").fetchall()
    assert len(asked) == len(set(asked)) == 40
    assert town.counts(NIGHT)["sweep"]["attempts"] > 1


async def run(town: Town, *words: str, **settings: str) -> dict[str, Any]:
    """The command, in a thread, since it has a loop of its own; its JSON."""
    answer = await asyncio.to_thread(
        command, {"HLF_SYNC_POSTGRES_DSN": town.dsn}, *words, "--json", **settings
    )
    assert answer.code == 0
    return dict(answer.content)


async def test_the_command_does_nothing_for_a_date_that_is_done(town: Town) -> None:
    town.mentor()
    town.at(NIGHT, 4, 0)
    first = await run(town, "nightly", "--date", str(NIGHT), DELIVERY="shadow")
    assert (first["finished"], first["done_before"]) == (True, False)
    assert {name: step["outcome"] for name, step in first["steps"].items()} == {
        **dict.fromkeys(BY_NAME, "done"),
        "credentials": "skipped",
        "roster": "skipped",
        "verify": "skipped",
    }
    assert town.asked() == 1
    again = await run(town, "nightly")
    assert (again["run_date"], again["done_before"]) == (str(NIGHT), True)
    assert town.asked() == 1


async def test_the_command_goes_on_with_what_failed_and_says_what_did(town: Town) -> None:
    """Without Kafka's address or Dynamics' credentials the steps that need them fail alone."""
    town.at(NIGHT, 4, 0)
    wrong = {"DYNAMICS_BASE_URL": "https://dynamics.invalid"}
    for attempts in (1, 2):
        with pytest.raises(HaltError, match="credentials, verify"):
            await run(town, "nightly", **wrong)
        found = town.counts(NIGHT)
        assert (found["sweep"]["outcome"], found["sweep"]["attempts"]) == ("done", 1)
        assert (found["verify"]["outcome"], found["verify"]["attempts"]) == ("failed", attempts)


async def test_the_command_refuses_a_night_that_has_not_come(town: Town) -> None:
    town.at(NIGHT, 4, 0)
    with pytest.raises(SettingsError, match="has not come yet"):
        await run(town, "nightly", "--date", "2027-05-06")


async def test_the_command_refuses_a_night_whose_row_would_be_pruned_in_it(town: Town) -> None:
    """Nothing would say that it was done: each run would do all of it again, and fail."""
    town.at(NIGHT, 4, 0)
    with pytest.raises(SettingsError, match="too long ago"):
        await run(town, "nightly", "--date", "2020-01-01")
    assert town.nights() == {}


async def test_the_command_leaves_a_night_alone_that_another_process_is_at(town: Town) -> None:
    town.at(NIGHT, 4, 0)
    town.admin.execute("SELECT pg_advisory_lock(hashtext('hlf_sync.nightly'))")
    with pytest.raises(HaltError, match="another process"):
        await run(town, "nightly")
    assert town.nights() == {}


@pytest.mark.requirement("R65")
async def test_remind_shows_who_is_due_and_then_writes_it(town: Town) -> None:
    town.at(NIGHT, 12, 0)
    mentor_id = town.mentor(town.clock.now + timedelta(days=3))
    (one,) = (await run(town, "remind", "--dry-run"))["due"]
    assert (one["mentor_id"], one["days_left"], one["threshold_day"]) == (mentor_id, 3, 7)
    assert await run(town, "remind") == {"written": 1}
    assert await run(town, "remind") == {"written": 0}
    assert await run(town, "remind", "--dry-run") == {"due": []}


async def test_off_means_never(town: Town) -> None:
    town.settings = load(environ={"HLF_SYNC_POSTGRES_DSN": town.dsn, "HLF_SYNC_NIGHTLY_AT": "off"})
    worker = town.hire()
    await town.until(lambda: worker.scheduler.is_leader)
    town.at(NIGHT, 12, 0)
    assert town.nights() == {}
    assert town.looks == 0


@pytest.mark.requirement("R63")
async def test_the_leader_tells_an_overdue_night_its_steps_and_what_was_found(town: Town) -> None:
    """As metrics and for /status; a worker that does not lead tells nothing."""
    at = town.settings.nightly_time
    assert at is not None
    done = {"outcome": "done", "attempts": 1, "tried_s": 0.0, "seconds": 1.5}
    counts = {
        "reconcile": {**done, "unexplained": 0, "repeated_reminders": 2},
        "reminders": {**done, "written": 5},
        "verify": {"outcome": "failed", "attempts": 2, "tried_s": 0.0},
    }
    town.at(NIGHT, 4, 30)
    town.admin.execute(
        "INSERT INTO hlf_sync.nightly_run (run_date, counts) VALUES (%s, %s)",
        (NIGHT, json.dumps(counts)),
    )
    metrics = Metrics(lambda: 0)
    async with open_pool(town.dsn, size=1) as pool:
        watch = NightWatch(pool, town.settings.time_zone, at, lambda: True)
        watch.sight = await watch._look(at)
    watch.show(metrics)
    page = metrics.page().decode()
    for line in (
        "hlf_sync_nightly_overdue_seconds 7200.0",
        'hlf_sync_nightly_step{outcome="failed",step="verify"} 1.0',
        'hlf_sync_nightly_step{outcome="failed",step="reminders"} 0.0',
        'hlf_sync_nightly_step_seconds{step="reminders"} 1.5',
        "hlf_sync_nightly_reminders 5.0",
        'hlf_sync_duplicates{kind="calls"} 0.0',
        'hlf_sync_duplicates{kind="reminders"} 2.0',
    ):
        assert f"\n{line}\n" in page
    assert watch.content() == {
        "run_date": str(NIGHT),
        "overdue_s": 7200,
        "steps": {"reconcile": "done", "reminders": "done", "verify": "failed"},
    }
    watch.sight = None
    watch.show(metrics)
    assert "\nhlf_sync_nightly_overdue_seconds " not in metrics.page().decode()


@pytest.mark.requirement("R63")
async def test_the_reconciling_step_reports_reminders_that_came_twice(town: Town) -> None:
    town.at(NIGHT, 4, 0)
    mentor_id = town.mentor()
    for day in ("2027-05-20", "2027-05-21"):
        town.admin.execute(
            "INSERT INTO hlf_sync.cert_expiry_reminders VALUES (%s, 30, %s, 'HLF', NULL)",
            (mentor_id, day),
        )
    found = await run(town, "nightly", DELIVERY="shadow")
    assert found["steps"]["reconcile"]["repeated_reminders"] == 1


@pytest.mark.requirement("R64")
async def test_the_night_leaves_a_roster_that_only_its_owner_can_read(
    town: Town, tmp_path: Path
) -> None:
    town.at(NIGHT, 4, 0)
    town.mentor()
    found = await run(town, "nightly", DELIVERY="shadow", BREAK_GLASS_DIR=str(tmp_path / "rosters"))
    (roster,) = (tmp_path / "rosters").iterdir()
    assert found["steps"]["roster"]["file"] == roster.name
    assert roster.stat().st_mode & 0o777 == 0o600
    assert read_roster(roster).organization == "HLF"


@pytest.mark.parametrize("odd", [{}, {"outcome": "of_a_later_version"}, None, 5, "done"])
def test_a_step_that_another_version_wrote_down_ends_no_leader(odd: object) -> None:
    """It is passed over; what can be read counts."""
    known = {"outcome": "done", "attempts": 1, "tried_s": 2.0}
    assert marks({"odd": odd, "sweep": known}) == {"sweep": Mark(Outcome.DONE, 1, 2.0)}
