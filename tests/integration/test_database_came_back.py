"""The database came back older: a copy of its data directory, slot included, is put back under a
running fleet. Real parts.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import Town, found_town, until

pytestmark = [pytest.mark.stack, pytest.mark.requirement("R67"), pytest.mark.timeout(300)]


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[Town]:
    """A town of its own."""
    yield from found_town(stack, source_side, tmp_path)


def _stopped(town: Town) -> Path:
    """The data directory of a database that has stopped."""
    town.stack.kill("postgres")
    return (town.stack.layout.folder("postgres") / "cluster").resolve()


@pytest.mark.behaviour
def test_a_restored_backup_is_noticed_everybody_is_asserted_and_new_changes_come_through(
    town: Town,
) -> None:
    """A is reinstated and B paused after the backup. Restored, the ledger says of both what was
    true then, and the connector stands ahead of the log: on a build that does not look, Dynamics
    goes on showing what the lost changes asked for, with every light green, and changes committed
    now reach Kafka when the log has grown past the old position.
    """
    first, second, third = mentors = town.mentors(3)
    town.set_status([first], "paused")
    worker = town.worker()
    town.settle()
    until(lambda: town.shown(mentors) == town.wanted(mentors), "delivered before the backup")
    _await_looks(town)
    data = _stopped(town)
    backup = data.parent / "backup"
    subprocess.run(["cp", "-a", str(data), str(backup)], check=True)  # owner and modes as they are
    town.stack.restart("postgres")

    town.set_status([first], "reinstated")
    town.set_status([second], "paused")
    town.settle()
    until(
        lambda: town.shown(mentors) == {first: True, second: False, third: True},
        "delivered after the backup",
    )
    _await_looks(town)

    data = _stopped(town)
    shutil.rmtree(data)
    backup.rename(data)
    town.stack.restart("postgres")
    assert town.wanted(mentors) == {first: False, second: True, third: True}
    until(
        lambda: worker.metric("hlf_sync_distrusts_total") == 1,
        "the worker sees that the database went back",
        60,
    )
    until(lambda: town.shown(mentors) == town.wanted(mentors), "everybody is asserted", 60)
    assert '"reason":"went_back"' in worker.output
    assert '"event":"connector_reset"' in worker.output

    town.set_status([third], "paused")
    until(lambda: town.shown([third]) == {third: False}, "a change committed now comes through", 60)
    until(
        lambda: (
            worker.metric("hlf_sync_source_faults") == 0
            and worker.metric("hlf_sync_database_changed") == 0
        ),
        "and all lights are out",
    )


def _await_looks(town: Town) -> None:
    """Two more looks of the leader, so that one of them began after what happened before."""
    before = _beat(town)
    until(lambda: _beat(town) >= before + 2, "the leader looks", 60)


def _beat(town: Town) -> int:
    with town.side.admin() as connection:
        row = connection.execute("SELECT beat FROM hlf_sync.source_watch").fetchone()
    return int(row[0]) if row else 0
