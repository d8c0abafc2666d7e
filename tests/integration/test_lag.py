"""Lag and freshness against independent figures, while Dynamics is down, changes go on arriving,
fetching is paused, and a second worker joins.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import QUICK, Town, WorkerProcess, found_town, until

pytestmark = pytest.mark.stack

_LAG = re.compile(r'hlf_sync_consumer_lag_records\{partition="(\d+)",topic="[^"]+"\} (\S+)')


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[Town]:
    """A town of its own."""
    yield from found_town(stack, source_side, tmp_path)


@pytest.mark.requirement("R60")
@pytest.mark.requirement("R30")
def test_lag_and_freshness_go_on_rising_truthfully_while_the_circuit_is_open(town: Town) -> None:
    """Compared with the broker's own offsets and the database's commit time; no partition twice or
    missing with two workers.
    """
    mentors = town.mentors(100)
    worker = _worker(town)
    until(worker.is_ready, "the worker is ready")
    town.settle()
    until(lambda: worker.metric("hlf_sync_freshness_seconds") == 0, "nothing is owed")
    town.dynamics.fault("unavailable", times=None)
    town.set_status(mentors, "paused")
    until(lambda: worker.status()["circuit"]["state"] == "open", "the circuit opens")
    since_s = _commit_epoch_s(town, mentors[0])
    _agree([worker], town, since_s)
    for status in ("active", "paused", "active"):
        town.set_status(mentors, status)
    until(lambda: worker.metric("hlf_sync_partitions_paused") == 12, "fetching is paused")
    town.side.settle()
    first_lag = _agree([worker], town, since_s)
    assert first_lag > 300
    town.set_status(mentors, "paused")
    town.side.settle()
    assert _agree([worker], town, since_s) >= first_lag + 100
    assert worker.status()["verdict"] == "stalled"
    assert worker.status()["reason"] == "circuit_open"
    second = _worker(town)
    until(
        lambda: _has_said_where(second) and len(second.status()["assignment"]) == 6,
        "it has half of the partitions",
        40,
    )
    _agree([worker, second], town, since_s)
    town.dynamics.clear_faults()
    town.side.sql("DELETE FROM hlf_sync.circuit")
    town.settle()
    until(
        lambda: [one.status()["freshness_s"] for one in (worker, second)] == [0, 0],
        "nothing is owed",
    )
    assert _agree([worker, second], town, None) == 0
    assert town.shown(mentors) == dict.fromkeys(mentors, False)


def _worker(town: Town) -> WorkerProcess:
    """One that pauses fetching early, and tries again late."""
    settings = {
        **QUICK,
        "HTTP_PORT": "0",
        "KAFKA_GROUP_ID": town.group,
        "BREAKER_COOL_DOWN_S": "60",
    }
    log = town.folder / f"worker-{len(town.workers)}.log"
    town.workers.append(
        WorkerProcess(town.stack.layout.env_file, log, settings, {"RIG_PAUSE_AT": "150"})
    )
    return town.workers[-1]


def _agree(workers: list[WorkerProcess], town: Town, since_s: float | None) -> int:
    """Within one scrape (15 s) the workers' figures are the broker's and the
    database's; the lag.
    """
    seen: list[object] = []

    def is_so() -> bool:
        pages = [worker.get("/metrics").text for worker in workers]
        lags = [
            (int(partition), float(lag)) for page in pages for partition, lag in _LAG.findall(page)
        ]
        group = [
            float(found)
            for page in pages
            for found in re.findall(r"hlf_sync_group_lag_records\{[^}]*\} (\S+)", page)
        ]
        fresh_s = max(worker.metric("hlf_sync_freshness_seconds") for worker in workers)
        owed_s = 0.0 if since_s is None else _now_s(town) - since_s
        broker = town.lag()
        seen[:] = [
            broker,
            group,
            sum(lag for _, lag in lags),
            Counter(partition for partition, _ in lags),
            fresh_s,
            owed_s,
        ]
        is_whole = Counter(partition for partition, _ in lags) == Counter(range(12))
        return (
            is_whole
            and sum(lag for _, lag in lags) == broker
            and group == [broker]
            and abs(fresh_s - owed_s) < 1.5
        )

    until(is_so, f"the figures agree: {seen}", 15)
    return int(str(seen[0]))


def _commit_epoch_s(town: Town, mentor_id: str) -> float:
    return _one(
        town,
        "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM app.mentor WHERE id"
        " = %s",
        mentor_id,
    )


def _now_s(town: Town) -> float:
    return _one(town, "SELECT extract(epoch FROM clock_timestamp())::float8")


def _one(town: Town, statement: str, *values: object) -> float:
    with town.side.admin() as connection:
        row = connection.execute(statement, values).fetchone()
    assert row is not None
    return float(row[0])


def _has_said_where(worker: WorkerProcess) -> bool:
    return '"started"' in worker.output
