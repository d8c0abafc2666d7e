"""What can go wrong by chance: each fault by its name, with how it strikes and how it is undone.
lanes.py draws them from the seed.

A fault is a generator: it strikes, yields for how many seconds it holds, and heals when it is
resumed. Those that take a whole part down are HEAVY: one at a time, else nothing would ever run.
What is aimed at one mentor's delivery is in ambushes.py.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from random import Random
from signal import SIGCONT, SIGSTOP
from typing import Any, Literal

import httpx
import psycopg
from confluent_kafka.admin import AclOperation, ResourceType
from hlf_sync_sandbox.dynamics.control import DynamicsControl
from hlf_sync_sandbox.stack import Sandbox

from tests.chaos.circuit import Period
from tests.chaos.fleet import MOST, Fleet
from tests.chaos.people import People
from tests.chaos.proxy import Proxy
from tests.fixtures.acl import without
from tests.fixtures.source_side import CONNECTOR

_ANSWERS = (
    "server-error", "unavailable", "bad-gateway", "gateway-timeout", "request-timeout", "throttled", "unauthorized", "forbidden", "not-found",
    "duplicate", "sql-timeout", "redirect", "reset-before", "reset-after", "answer-lost", "half-answer", "slow-loris", "hang", "hang-applied",
    "garbage", "truncated-json", "late-effect", "late-after-close", "broken-gzip",
)  # fmt: skip
_TOKEN = ("token-throttled", "token-unavailable", "token-slow", "token-wrong-secret")
# What else may answer at the address of Kafka Connect or of the registry.
_STRANGE = tuple(
    b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%bConnection: close\r\n\r\n%b"
    % (status, len(body), fields, body)
    for status, fields, body in (
        (b"200 OK", b"", b""),
        (b"200 OK", b"", b"[]"),
        (b"200 OK", b"", b'{"status":"UP"}'),
        (b"200 OK", b"", b"<html>Welcome</html>"),
        (b"200 OK", b"Content-Encoding: gzip\r\n", b"\x1f\x8bnonsense"),
        (b"401 Unauthorized", b"WWW-Authenticate: Basic\r\n", b"{}"),
        (b"500 Internal Server Error", b"", b"{}"),
    )
)
_RECONNECTED_S = 3.0  # a connection that is tried again waits up to two
_OUTAGES: tuple[Literal["502", "503", "504", "reset", "hang", "refuse"], ...] = (
    "502",
    "503",
    "504",
    "reset",
    "hang",
    "refuse",
)


@dataclass(frozen=True)
class World:
    """What can be struck."""

    stack: Sandbox
    fleet: Fleet
    people: People
    to_dynamics: Proxy
    to_source: Proxy  # Debezium's way to PostgreSQL
    to_connect: Proxy
    to_registry: Proxy
    random: Random
    outages: list[Period] = field(
        default_factory=list
    )  # when PostgreSQL itself was away, or had cut the workers off

    @property
    def dynamics(self) -> DynamicsControl:
        """The emulator that runs now: a killed one comes back with another control port."""
        return DynamicsControl(self.stack.layout.root, timeout_s=5)

    def sql(self, statement: str, *parameters: object) -> None:
        """One statement as the superuser."""
        with psycopg.connect(
            self.stack.env["SANDBOX_POSTGRES_ADMIN_DSN"], autocommit=True, connect_timeout=3
        ) as connection:
            connection.execute(statement.encode(), parameters)

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """What a statement finds."""
        with psycopg.connect(
            self.stack.env["SANDBOX_POSTGRES_ADMIN_DSN"], autocommit=True, connect_timeout=3
        ) as connection:
            return connection.execute(statement.encode(), parameters).fetchall()

    @contextmanager
    def without_database(self) -> Iterator[None]:
        """Whatever happens in here, workers need a moment afterwards to be heard and told again."""
        start_s = time.time()  # noqa: TID251 - compared with the journal's epoch times
        try:
            yield
        finally:
            self.outages.append(Period(start_s, time.time() + _RECONNECTED_S))  # noqa: TID251


Fault = Callable[[World], Iterator[float]]


def kill_worker(world: World) -> Iterator[float]:
    """SIGKILL; another joins a little later."""
    if worker := world.fleet.one(world.random):
        world.fleet.kill(worker)
        yield world.random.uniform(0, 2)
    if len(world.fleet.alive) < MOST:
        world.fleet.join()


def freeze_worker(world: World) -> Iterator[float]:
    """SIGSTOP past its lease, often past its session; then it wakes, or dies."""
    if worker := world.fleet.one(world.random):
        world.fleet.freeze(worker)
        yield world.random.choice([1.0, 5.5, 9.0])
        if worker in world.fleet.frozen:
            if world.random.random() < 0.3:
                world.fleet.kill(worker)
                world.fleet.join()
            else:
                world.fleet.thaw(worker)


def stop_worker(world: World) -> Iterator[float]:
    """SIGTERM in the middle of work; another joins."""
    if worker := world.fleet.one(world.random):
        world.fleet.join()
        yield world.random.uniform(0, 1)
        if worker in world.fleet.alive and worker not in world.fleet.frozen:
            world.fleet.leave(worker)


def join_worker(world: World) -> Iterator[float]:
    """One more, for a while."""
    if len(world.fleet.alive) < MOST:
        worker = world.fleet.join()
        yield world.random.uniform(3, 8)
        if (
            worker in world.fleet.alive
            and worker not in world.fleet.frozen
            and len(world.fleet.alive) > 1
        ):
            world.fleet.leave(worker)


def wrong_answer(world: World) -> Iterator[float]:
    """Some of the next requests are answered wrongly, lost, applied late."""
    name = world.random.choice(_ANSWERS)
    number = world.dynamics.fault(name, times=world.random.randint(1, 4))
    yield world.random.uniform(1, 3)
    world.dynamics.clear_faults(number)


def overtaken_call(world: World) -> Iterator[float]:
    """A request is held until later ones of the same contact are through, then it is applied."""
    number = world.dynamics.fault(hold=f"hold-{world.random.getrandbits(32)}", release_after=1)
    yield world.random.uniform(1, 3)
    world.dynamics.clear_faults(number)
    world.dynamics.release()


def slow_dynamics(world: World) -> Iterator[float]:
    """Latency near the time-out."""
    world.dynamics.latency(kind="uniform", low_s=0.1, high_s=world.random.choice([0.4, 1.6]))
    yield world.random.uniform(2, 5)
    world.dynamics.latency(0.02)


def token_trouble(world: World) -> Iterator[float]:
    """Tokens are revoked, and the token service misbehaves."""
    number = world.dynamics.fault(world.random.choice(_TOKEN), times=2)
    world.dynamics.revoke_tokens()
    yield world.random.uniform(1, 3)
    world.dynamics.clear_faults(number)


def dynamics_outage(world: World) -> Iterator[float]:
    """Nobody is served for some seconds."""
    seconds = world.random.uniform(1, 5)
    world.dynamics.outage(seconds + 1, mode=world.random.choice(_OUTAGES))
    yield seconds
    world.dynamics.end_outage()


def break_tcp(world: World) -> Iterator[float]:
    """Connections to Dynamics, Connect or the registry, of one worker to PostgreSQL, or of Debezium to
    PostgreSQL are reset, refused, stalled, slow, or come byte by byte.
    """
    ways = [world.to_dynamics, world.to_source, world.to_connect, world.to_registry]
    proxy = world.random.choice([*ways, *list(world.fleet.databases.values())])
    match world.random.choice(["reset", "refuse", "stall", "latency", "slice"]):
        case "reset":
            undo = proxy.reset()
        case "refuse":
            undo = proxy.refuse()
        case "stall":
            undo = proxy.stall()
        case "latency":
            undo = proxy.delay(world.random.uniform(0.02, 0.2))
        case _:
            undo = proxy.slice(7)
    yield world.random.uniform(0.5, 4)
    undo()


def strange_answers(world: World) -> Iterator[float]:
    """Something else answers where Kafka Connect or the registry should."""
    proxy = world.random.choice([world.to_connect, world.to_registry])
    undo = proxy.say(world.random.choice(_STRANGE))
    yield world.random.uniform(1, 5)
    undo()


def slow_database(world: World) -> Iterator[float]:
    """PostgreSQL is far away from every worker: what was read is old when it is acted upon."""
    undone = [
        proxy.delay(world.random.uniform(0.05, 0.3))
        for proxy in list(world.fleet.databases.values())
    ]
    yield world.random.uniform(1, 4)
    for undo in undone:
        undo()


def cut_backends(world: World) -> Iterator[float]:
    """Every connection of the workers, or the one that streams to Debezium, is ended by the
    server.
    """
    condition = world.random.choice(["usename = 'hlf_sync'", "backend_type = 'walsender'"])
    with world.without_database():
        world.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {condition}")
        yield 0


def kill_pooler(world: World) -> Iterator[float]:
    """SIGKILL of PgBouncer, and a restart."""
    if poolers := world.fleet.poolers:
        with world.without_database():
            poolers.by_session.kill()
            yield world.random.uniform(0, 2)
            poolers.by_session.start()


def freeze_pooler(world: World) -> Iterator[float]:
    """PgBouncer stands still: connections that are open, and silent."""
    if poolers := world.fleet.poolers:
        with world.without_database():
            poolers.by_session.process.send_signal(SIGSTOP)
            yield world.random.uniform(1, 4)
            poolers.by_session.process.send_signal(SIGCONT)


def join_behind_transactions(world: World) -> Iterator[float]:
    """A worker whose PgBouncer is in transaction mode must say so and end, before it has joined."""
    if poolers := world.fleet.poolers:
        worker = world.fleet.begin(poolers.by_transaction.port)
        yield 10.0
        code = worker.process.poll()
        if code is None:  # PostgreSQL is away, or the machine is busy
            worker.kill()
        if worker.has_started or code not in {None, 2}:
            world.fleet.wrong_exits.append(
                f"a worker behind PgBouncer in transaction mode, {code}: {worker.output[-2000:]}"
            )


def sweep(world: World) -> Iterator[float]:
    """An operator asks for everybody but the steady; what happened before is looked at again."""
    world.sql(
        "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by) SELECT id::uuid,"
        " 'reconciliation' FROM unnest(%s::text[]) id",
        list(world.people.mentors),
    )
    yield 0


def restart_task(world: World) -> Iterator[float]:
    """Debezium's task is restarted where it stands."""
    httpx.post(
        f"{world.stack.env['HLF_SYNC_CONNECT_URL']}/connectors/{CONNECTOR}/restart?includeTasks=true",
        trust_env=False,
        timeout=20,
    )
    yield 0


def take_right(world: World) -> Iterator[float]:
    """Nobody may read as the workers' group for a while: every consumer fails for good."""
    servers = world.stack.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"]
    with without(servers, ((ResourceType.GROUP, world.fleet.group), AclOperation.READ)):
        yield world.random.uniform(1, 5)


def _dies(part: str, least_s: float, longest_s: float) -> Fault:
    def die(world: World) -> Iterator[float]:
        with world.without_database() if part == "postgres" else nullcontext():
            world.stack.kill(part)
            yield world.random.uniform(least_s, longest_s)
            world.stack.restart(part)
        if part == "dynamics":
            world.dynamics.unlimited()

    die.__name__ = f"kill_{part}"
    die.__doc__ = f"SIGKILL of {part}, and a restart."
    return die


LIGHT: dict[Fault, int] = {
    kill_worker: 8, freeze_worker: 4, stop_worker: 3, join_worker: 2, wrong_answer: 16, overtaken_call: 4, slow_dynamics: 3, token_trouble: 3,
    kill_pooler: 2, freeze_pooler: 1, join_behind_transactions: 1,
    dynamics_outage: 3, break_tcp: 6, strange_answers: 3, slow_database: 3, cut_backends: 4, sweep: 1, restart_task: 1,
}  # fmt: skip
HEAVY: dict[Fault, int] = {
    _dies("postgres", 0, 2): 3, _dies("kafka", 0, 3): 3, _dies("connect", 0, 2): 3, _dies("registry", 0, 3): 1, _dies("dynamics", 0, 2): 2,
    take_right: 2,
}  # fmt: skip


def name_of(fault: Callable[..., Any]) -> str:
    """As the report has it."""
    return fault.__name__.replace("_", " ")
