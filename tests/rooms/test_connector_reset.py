"""A `connector reset` that is killed in the middle, and two at once: the connector does not stay
stopped, and no reset spoils another one's.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest
from hlf_sync.connect import recovery
from hlf_sync.connect.rest import ConnectRest
from hlf_sync.errors import DependencyError
from hlf_sync.postgres import connector_reset
from hlf_sync.postgres.one_connection import OperatorConnection, operator_connection
from hlf_sync.worker.connector_restart import revive_connector
from hlf_sync.worker.connector_stream import ConnectorStream
from psycopg.rows import dict_row

from tests.fakes.connect import NAME, Connect, running
from tests.fixtures.cluster import Cluster

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R67")]


class KilledError(Exception):
    """Stands for SIGKILL: nothing after it is done."""


@pytest.fixture
def connect() -> Iterator[Connect]:
    """One that runs."""
    with running() as found:
        yield found


@pytest.fixture
def session(cluster: Cluster, database: str) -> Iterator[Callable[[], OperatorConnection]]:
    """Sessions of the sync role."""
    opened: list[OperatorConnection] = []

    def open_one() -> OperatorConnection:
        opened.append(
            psycopg.connect(
                cluster.dsn(database, "hlf_sync"), autocommit=True, row_factory=dict_row
            )
        )
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def kill_after(step: str) -> Callable[[str], None]:
    """What ends a reset when it says this."""

    def say(line: str) -> None:
        if line.startswith(step):
            raise KilledError

    return say


def kill(session: Callable[[], OperatorConnection], connect: Connect) -> None:
    """A reset that dies after its stop, with its session."""
    connection = session()
    with ConnectRest(connect.address) as rest, pytest.raises(KilledError):
        recovery.reset_noted(connection, rest, NAME, by="someone", say=kill_after("deleting"))
    connection.close()


def stream(cluster: Cluster, database: str, connect: Connect) -> ConnectorStream:
    """The leader's."""
    dsn = cluster.dsn(database, "hlf_sync")
    return ConnectorStream(lambda: ConnectRest(connect.address), NAME, dsn)


async def test_the_leader_finishes_a_reset_that_was_killed_after_its_stop(
    cluster: Cluster, database: str, connect: Connect, session: Callable[[], OperatorConnection]
) -> None:
    """The service that revives a failed task does it, once."""
    kill(session, connect)
    assert (connect.state, connect.position is None) == ("STOPPED", False)
    finish = stream(cluster, database, connect).finish
    service = asyncio.create_task(
        revive_connector(
            connect.address, {"auth": None, "tls": None}, lambda: True, finish, every_s=0.05
        )
    )
    try:
        async with asyncio.timeout(30):
            while connect.state != "RUNNING" or connector_reset.owed(session(), NAME):
                await asyncio.sleep(0.05)
    finally:
        service.cancel()
    assert connect.steps == ["PUT stop", "PUT stop", "DELETE offsets", "PUT resume"]
    assert connect.position is None


async def test_an_operator_s_stop_is_left_alone(
    cluster: Cluster, database: str, connect: Connect
) -> None:
    """Nothing was noted, so nothing is owed."""
    connect.state = "STOPPED"
    assert not await stream(cluster, database, connect).finish()
    assert (connect.state, connect.steps) == ("STOPPED", [])


async def test_two_resets_at_once_come_one_after_the_other(
    cluster: Cluster, database: str, connect: Connect, session: Callable[[], OperatorConnection]
) -> None:
    """The second is told so and tries again: no offsets are deleted under a connector that goes on."""
    reached, go_on = threading.Event(), threading.Event()

    def say(line: str) -> None:
        if line.startswith("deleting"):
            reached.set()
            assert go_on.wait(30)

    first, second = session(), session()

    def work() -> None:
        with ConnectRest(connect.address) as rest:
            recovery.reset_noted(first, rest, NAME, by="leader", say=say)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert reached.wait(30)
        with pytest.raises(DependencyError, match="another reset is under way"):
            await stream(cluster, database, connect).forget()
    finally:
        go_on.set()
        thread.join(30)
    assert await stream(cluster, database, connect).forget()
    assert connect.steps == 2 * ["PUT stop", "DELETE offsets", "PUT resume"]
    assert connector_reset.owed(second, NAME) is None


@pytest.mark.parametrize("step", ["stopping", "deleting"])
def test_a_reset_whose_process_is_frozen_is_taken_over(
    cluster: Cluster,
    database: str,
    connect: Connect,
    session: Callable[[], OperatorConnection],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    """Its session lives and says nothing. What it still does when it wakes leaves a connector that
    runs.
    """
    monkeypatch.setattr(connector_reset, "SILENT_S", 0.5, raising=False)
    leader = stream(cluster, database, connect)

    async def take_over() -> None:
        async with asyncio.timeout(30):
            while not await finishes(leader):
                await asyncio.sleep(0.05)

    def freeze(line: str) -> None:
        if line.startswith(step):
            asyncio.run(take_over())
            connect.state = "STOPPED"  # as its own stop finds it, and leaves it
            assert connector_reset.owed(session(), NAME) is None

    with ConnectRest(connect.address) as rest, pytest.raises(DependencyError, match="has ended"):
        recovery.reset_noted(session(), rest, NAME, by="leader", say=freeze)
    assert connect.state == "RUNNING"


async def finishes(leader: ConnectorStream) -> bool:
    """Whether it has; False while another is at it."""
    try:
        return await leader.finish()
    except DependencyError:
        return False


def test_the_server_soon_gives_up_a_reset_on_a_machine_that_vanished(
    cluster: Cluster, database: str
) -> None:
    """And so does the client a server: neither waits for hours."""
    dsn = cluster.dsn(database, "hlf_sync")
    with operator_connection(dsn, "test") as connection:
        assert connection.info.get_parameters()["tcp_user_timeout"] == "10000"
        assert connection.info.get_parameters()["keepalives_idle"] == "5"
        with connector_reset.alone(connection):
            row = connection.execute(
                "SELECT array_agg(setting ORDER BY name) AS found"
                " FROM pg_settings WHERE name LIKE 'tcp\\_%' AND source = 'session'"
            ).fetchone()
    assert row is not None
    assert row["found"] == ["3", "5", "2", "10000"]


async def test_a_reset_that_fails_hides_no_failed_task_and_is_not_tried_at_each_look(
    cluster: Cluster, database: str, connect: Connect, session: Callable[[], OperatorConnection]
) -> None:
    """Each attempt stops the connector; and what failed by itself is revived all the same."""
    connector_reset.note(session(), NAME, "ann")
    connect.refuses = "DELETE offsets"
    looks = 0

    async def finish() -> bool:
        nonlocal looks
        looks += 1
        if looks == 2:  # as a person's `connector resume`, then a fault
            connect.state, connect.trace = "FAILED", 'replication slot "s" is active'
        return await leader.finish()

    leader = stream(cluster, database, connect)
    service = asyncio.create_task(
        revive_connector(
            connect.address, {"auth": None, "tls": None}, lambda: True, finish, every_s=0.05
        )
    )
    try:
        async with asyncio.timeout(30):
            while looks < 4 or not any(one.startswith("POST") for one in connect.steps):
                await asyncio.sleep(0.05)
    finally:
        service.cancel()
    assert connect.steps.count("PUT stop") == 1
    connector_reset.abandon(session(), NAME)
    assert not await leader.finish()


async def test_who_finishes_a_killed_recovery_owes_its_sweep(
    cluster: Cluster, database: str, connect: Connect, session: Callable[[], OperatorConnection]
) -> None:
    """Or those who left while the slot was lost stay on the public listing for ever."""
    connection = session()
    with ConnectRest(connect.address) as rest, pytest.raises(KilledError):
        recovery.reset_noted(
            connection, rest, NAME, by="ann", say=kill_after("letting"), sweep="connector recover"
        )
    connection.close()
    assert await stream(cluster, database, connect).finish()
    row = session().execute("SELECT sweep_owed FROM hlf_sync.source_watch").fetchone()
    assert row == {"sweep_owed": "connector recover"}
