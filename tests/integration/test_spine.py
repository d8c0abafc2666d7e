"""The spine on the real stack: row → Debezium → Kafka → worker process → Dynamics (emulator over TLS) → ledger → committed offset."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from sandbox.dynamics.control import DynamicsControl
from sandbox.stack import Sandbox

pytestmark = [pytest.mark.stack, pytest.mark.timeout(150)]

FAST = {
    "PACE_REQUESTS_PER_S": "500",
    "PACE_BURST": "50",
    "PACE_CONCURRENCY": "32",
    "MASS_REMOVAL_RATIO": "0",
    "DEAD_LETTER_LIMIT_RATIO": "0",
    "DEAD_LETTER_LIMIT_RUN": "0",
    "LEASE_S": "8",
    "REQUEST_TIMEOUT_S": "2",
    "LATE_EFFECT_S": "2",
    "BREAKER_COOL_DOWN_S": "1",
    "RETRY_BASE_DELAY_S": "0.2",
    "SCHEMA_PATIENCE_S": "2",
}


def until(condition: Callable[[], object], deadline_s: float = 40, what: str = "") -> None:
    """Wait for a condition."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.05)


class Worker:
    """One worker process."""

    def __init__(self, stack: Sandbox, log: Path, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HLF_SYNC_")}
        environment |= {f"HLF_SYNC_{name}": value for name, value in (FAST | settings).items()} | {"HLF_SYNC_HTTP_PORT": str(self.port)}
        self.log = log
        with log.open("ab") as out:
            command = [sys.executable, "-m", "consumer", "run", "--env-file", str(stack.layout.env_file)]
            self.process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)

    def page(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def is_ready(self) -> bool:
        try:
            return self.page("/readyz") == "ok\n"
        except OSError:
            return False

    def metric(self, name: str) -> float:
        return sum(float(line.rsplit(" ", 1)[1]) for line in self.page("/metrics").splitlines() if line.startswith(name))

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)


class World:
    """The stack, seen by a test."""

    def __init__(self, stack: Sandbox, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        self.dynamics = DynamicsControl(stack.layout.root)
        self.dynamics.unlimited()
        self.connection = psycopg.connect(stack.env["SANDBOX_POSTGRES_ADMIN_DSN"], autocommit=True)
        self.workers: list[Worker] = []

    def worker(self, **settings: str) -> Worker:
        worker = Worker(self.stack, self.folder / f"worker-{len(self.workers)}.log", **settings)
        self.workers.append(worker)
        until(worker.is_ready, 30, f"worker ready: {worker.log.read_text()[-2000:]}")
        return worker

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(statement, values)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []

    def mentors(self, count: int, status: str = "active") -> list[str]:
        """Mapped and certified mentors; a contact's id equals its mentor's."""
        ids = [str(uuid4()) for _ in range(count)]
        self.dynamics.put_contacts(dict.fromkeys(ids, None))
        with self.connection.transaction():
            for mentor in ids:
                self.execute("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", mentor, mentor)
                self.execute("INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', %s)", mentor, status)
                self.execute("INSERT INTO app.certification VALUES (gen_random_uuid(), %s, 'valid', now() + interval '1 year')", mentor)
        return ids

    def status(self, mentor: str, status: str) -> None:
        self.execute("UPDATE app.mentor SET status = %s WHERE id = %s", status, mentor)

    def shown(self, mentors: list[str]) -> dict[str, bool | None]:
        contacts = self.dynamics.contacts()
        return {mentor: contacts[mentor] for mentor in mentors}

    def await_shown(self, mentors: list[str], *, visible: bool, deadline_s: float = 40) -> None:
        until(lambda: self.shown(mentors) == dict.fromkeys(mentors, visible), deadline_s, f"{len(mentors)} mentors visible={visible}")

    def close(self) -> None:
        for worker in self.workers:
            worker.process.send_signal(signal.SIGCONT) if worker.process.poll() is None else None
            worker.end(signal.SIGKILL)
        self.dynamics.reset()
        self.connection.close()


@pytest.fixture
def world(stack: Sandbox, tmp_path: Path) -> Iterator[World]:
    """The stack without a worker; whatever a test starts or scripts is undone."""
    world = World(stack, tmp_path)
    yield world
    world.close()


@pytest.mark.requirement("R01")
def test_a_mentor_paused_in_postgresql_leaves_the_listing_and_comes_back(world: World) -> None:
    """The whole way, there and back; lag returns to 0 and a SIGTERM ends with 0."""
    worker, mentors = world.worker(), world.mentors(3)
    world.await_shown(mentors, visible=True)
    world.status(mentors[0], "paused")
    world.await_shown(mentors[:1], visible=False)
    world.status(mentors[0], "reinstated")
    world.await_shown(mentors, visible=True)
    until(lambda: sum(json.loads(worker.page("/status"))["lag"].values()) == 0, what="lag 0")
    assert worker.end() == 0


@pytest.mark.requirement("R06")
def test_a_certificate_that_lapses_removes_without_any_row_changing(world: World) -> None:
    """Only the clock moves."""
    world.worker()
    someone = world.mentors(1)
    world.await_shown(someone, visible=True)
    world.execute("UPDATE app.certification SET expires_at = now() + interval '3 s' WHERE mentor_id = %s", someone[0])
    world.await_shown(someone, visible=False, deadline_s=30)
    assert world.execute("SELECT triggered_by FROM hlf_sync.mentor_ledger WHERE mentor_id = %s", someone[0]) == [("expiry",)]


@pytest.mark.requirement("R07")
def test_a_commit_that_is_decoded_before_it_is_visible_is_waited_for(world: World) -> None:
    """A standby that does not exist holds the commit back: streamed, and not visible. Delivered once it is, not dropped."""
    worker, someone = world.worker(), world.mentors(1)
    world.await_shown(someone, visible=True)
    before = worker.metric("hlf_sync_evaluations_total")
    world.execute("ALTER SYSTEM SET synchronous_standby_names = 'absent'")
    world.execute("SELECT pg_reload_conf()")
    hanging = threading.Thread(target=_pause, args=(world.stack.env["SANDBOX_POSTGRES_ADMIN_DSN"], someone[0]))
    try:
        hanging.start()
        until(lambda: worker.metric("hlf_sync_evaluations_total") >= before + 3, what="the change is looked at, again and again")
        assert world.shown(someone) == {someone[0]: True}
    finally:
        world.execute("ALTER SYSTEM RESET synchronous_standby_names")
        world.execute("SELECT pg_reload_conf()")
        hanging.join()
    world.await_shown(someone, visible=False)


def _pause(dsn: str, mentor: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("UPDATE app.mentor SET status = 'paused' WHERE id = %s", (mentor,))


@pytest.mark.requirement("R07")
def test_removed_then_killed_before_recording_then_reinstated_ends_restored(world: World) -> None:
    """The in-doubt case of design section 3, with a real SIGKILL at that line."""
    first, someone = world.worker(), world.mentors(1)
    world.await_shown(someone, visible=True)
    world.dynamics.latency(1.5)
    world.status(someone[0], "paused")
    until(world.dynamics.in_flight, what="the call is under way")
    first.end(signal.SIGKILL)
    world.await_shown(someone, visible=False)  # the emulator applies it although its client is gone
    world.status(someone[0], "active")
    world.dynamics.latency(0.0)
    world.worker()
    world.await_shown(someone, visible=True)


@pytest.mark.requirement("R07")
def test_one_worker_killed_and_one_frozen_under_a_stream_end_with_dynamics_equal_to_the_facts(world: World) -> None:
    """A third takes over; the frozen one wakes up late and changes nothing for good."""
    killed, frozen = world.worker(), world.worker()
    mentors = world.mentors(60)
    world.await_shown(mentors, visible=True)
    world.dynamics.latency(0.3)
    for number in range(240):
        world.status(mentors[number % 60], "paused" if (number // 60) % 2 == 0 else "active")
        if number == 80:
            killed.process.send_signal(signal.SIGKILL)
            frozen.process.send_signal(signal.SIGSTOP)
            world.worker()
    for mentor in mentors[:30]:
        world.status(mentor, "paused")
    world.dynamics.latency(0.0)
    world.await_shown(mentors[:30], visible=False, deadline_s=60)
    frozen.process.send_signal(signal.SIGCONT)
    settled = "SELECT count(*) FROM hlf_sync.mentor_ledger WHERE mentor_id = ANY (%s::uuid[]) AND state = 'in_sync'"
    until(lambda: world.execute(settled, mentors) == [(60,)], 60, "everybody in sync")
    world.await_shown(mentors[:30], visible=False)
    world.await_shown(mentors[30:], visible=True)


@pytest.mark.requirement("R40")
def test_ten_thousand_changes_of_a_hundred_mentors_cost_at_most_three_hundred_looks(world: World) -> None:
    """Only the calls that change something."""
    worker, mentors = world.worker(), world.mentors(100)
    world.await_shown(mentors, visible=True)
    looks, seq = worker.metric("hlf_sync_evaluations_total"), world.dynamics.last_seq()
    with world.connection.transaction():
        for _ in range(50):
            world.execute("UPDATE app.mentor SET status = 'paused' WHERE id = ANY (%s::uuid[])", mentors)
            world.execute("UPDATE app.mentor SET status = 'active' WHERE id = ANY (%s::uuid[])", mentors)
        world.execute("UPDATE app.mentor SET status = 'paused' WHERE id = ANY (%s::uuid[])", mentors)
    world.await_shown(mentors, visible=False)
    until(lambda: sum(json.loads(worker.page("/status"))["lag"].values()) == 0, what="lag 0")
    assert worker.metric("hlf_sync_evaluations_total") - looks <= 300
    assert len(world.dynamics.journal(seq, kind="api")) == 100


@pytest.mark.requirement("R42")
def test_poison_in_the_topic_becomes_dead_letters_and_the_worker_lives_on(world: World) -> None:
    """Garbage, an unknown schema, a null key, a tombstone; then a real change goes through."""
    from confluent_kafka import Producer  # noqa: PLC0415 - only here

    worker = world.worker()
    producer = Producer({"bootstrap.servers": world.stack.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"]})
    key = str(uuid4()).encode()
    for value, its_key in ((b"garbage", key), (b"\x00\x00\x0f\xff\xff....", key), (b"", None), (None, key)):
        producer.produce("hlf.mentor.changes", key=its_key, value=value)
    producer.flush(10)
    until(lambda: worker.metric('hlf_sync_dead_letters_total{kind="undecodable"}') >= 3, what="three letters")
    someone = world.mentors(1)
    world.await_shown(someone, visible=True)
    until(lambda: sum(json.loads(worker.page("/status"))["lag"].values()) == 0, what="lag 0")


def test_a_missing_postgresql_at_start_is_waited_for_visibly_and_then_exit_4(world: World) -> None:
    """The deadline passes."""
    settings = {"POSTGRES_DSN": "postgresql://hlf_sync@127.0.0.1:1/mentors", "STARTUP_DEADLINE_S": "2"}
    worker = Worker(world.stack, world.folder / "lonely.log", **settings)
    assert worker.process.wait(30) == 4
    assert "PostgreSQL" in worker.log.read_text()


def test_a_wrong_setting_is_one_line_that_names_it(world: World) -> None:
    """Exit 2, no stack trace."""
    worker = Worker(world.stack, world.folder / "wrong.log", DYNAMICS_BASE_URL="http://insecure.example.org")
    assert worker.process.wait(30) == 2
    lines = worker.log.read_text().splitlines()
    assert len(lines) == 1 and "HLF_SYNC_DYNAMICS_BASE_URL" in lines[0]
