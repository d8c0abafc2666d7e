"""Stories of what lies between the database and the worker: Connect, connector, slot, PostgreSQL,
registry, broker; by their rows in the runbook.
"""

import signal
from collections.abc import Iterator

from hlf_sync.packaged import read
from psycopg.errors import ObjectInUse

from tests.alerts.scene import Scene, Story
from tests.fixtures.source_side import CONNECTOR
from tests.fixtures.worker_process import until

_PATH = f"/connectors/{CONNECTOR}"


def connect_killed(scene: Scene) -> Iterator[None]:
    """SIGKILL of the process that runs Debezium."""
    yield from _dies(scene, "connect")


def postgres_down(scene: Scene) -> Iterator[None]:
    """SIGKILL of PostgreSQL."""
    yield from _dies(scene, "postgres")


def broker_down(scene: Scene) -> Iterator[None]:
    """SIGKILL of the only broker."""
    yield from _dies(scene, "kafka")


def registry_down(scene: Scene) -> Iterator[None]:
    """SIGKILL of the registry, while everybody knows every schema: else Debezium's converter would
    be held up too.
    """
    for statement in (
        "app.mentor SET updated_at = now()",
        "app.certification SET status = status",
        "hlf_sync.contact_mapping SET mentor_id = mentor_id",
    ):
        scene.town.side.sql(f"UPDATE {statement}")
    scene.town.settle()
    yield from _dies(scene, "registry")


def _dies(scene: Scene, part: str) -> Iterator[None]:
    scene.town.stack.kill(part)
    yield
    scene.town.stack.restart(part)
    _streams(scene)


def registry_hangs(scene: Scene) -> Iterator[None]:
    """It takes connections and answers nobody."""
    scene.town.stack.kill("registry", signal.SIGSTOP)
    yield
    scene.town.stack.kill("registry", signal.SIGCONT)
    _streams(scene)


def connector_paused(scene: Scene) -> Iterator[None]:
    """By somebody who forgot it."""
    scene.town.side.connect.put(f"{_PATH}/pause").raise_for_status()
    yield
    scene.town.side.connect.put(f"{_PATH}/resume").raise_for_status()
    _streams(scene)


def task_failed(scene: Scene) -> Iterator[None]:
    """The publication is dropped: the task ends, and a restart does not help."""
    scene.town.side.sql("DROP PUBLICATION hlf_mentor_pub")
    scene.town.side.connect.post(f"{_PATH}/restart?includeTasks=true").raise_for_status()
    yield
    _prepare(scene)
    scene.order("connector", "apply")
    _streams(scene)


def publication_dropped(scene: Scene) -> Iterator[None]:
    """By a migration tool; nobody touches the connector, which goes on RUNNING with a lag of 0 while
    PostgreSQL confirms past the changes.
    """
    scene.town.side.sql("DROP PUBLICATION hlf_mentor_pub")
    yield
    _prepare(scene)
    _streams(scene)


def slot_dropped(scene: Scene) -> Iterator[None]:
    """By somebody who needed the disk. Mended as docs/runbook.md, Slot lost, says."""
    until(lambda: _drop_slot(scene), "the slot is gone")
    yield
    _prepare(scene)
    side = scene.town.side
    side.connect.put(f"{_PATH}/stop").raise_for_status()
    side.await_state("STOPPED")
    until(
        lambda: side.connect.delete(f"{_PATH}/offsets").is_success, "the old position is forgotten"
    )
    side.connect.put(f"{_PATH}/resume").raise_for_status()
    scene.order("connector", "apply")
    _streams(scene)
    scene.order("sweep")
    scene.town.settle()


def _drop_slot(scene: Scene) -> bool:
    """It is held by its reader until that is ended, and again a moment later."""
    with scene.town.side.admin() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name ="
            " 'hlf_mentor_cdc' AND active"
        )
        try:
            connection.execute("SELECT pg_drop_replication_slot('hlf_mentor_cdc')")
        except ObjectInUse:
            return False
    return True


def _prepare(scene: Scene) -> None:
    """What the administrator runs again."""
    with scene.town.side.admin() as connection:
        connection.execute(read("sql/02_source.sql").encode())


def _streams(scene: Scene) -> None:
    """Connector and task run, and what is committed comes out."""
    scene.town.side.await_running()
    scene.town.settle(60)


STORIES: dict[str, Story] = {
    "Kafka Connect killed": connect_killed,
    "connector paused": connector_paused,
    "connector's task failed": task_failed,
    "publication dropped": publication_dropped,
    "slot dropped": slot_dropped,
    "PostgreSQL down": postgres_down,
    "registry down": registry_down,
    "registry hangs": registry_hangs,
    "broker down": broker_down,
}
