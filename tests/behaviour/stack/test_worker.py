"""A real worker where the parts do what one would not think of: a prepared transaction, a subtransaction,
a database whose ids have wrapped, a registry made anew, offsets that Kafka has forgotten.
"""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import Town, found_town, until

pytestmark = [
    pytest.mark.stack,
    pytest.mark.behaviour,
    pytest.mark.requirement("R40"),
    # Whichever comes first brings the stack up within its own limit.
    pytest.mark.timeout(600),
]


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[Town]:
    """A town of its own."""
    yield from found_town(stack, source_side, tmp_path)


def test_changes_of_savepoints_are_delivered_in_a_database_whose_ids_have_wrapped(
    town: Town,
) -> None:
    """And one whose savepoint was rolled back is not."""
    kept, undone = town.mentors(2)
    town.worker()
    town.settle()
    update = "UPDATE app.mentor SET status = 'paused' WHERE id = %s"
    with town.side.admin() as connection, connection.transaction():
        row = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
        with connection.transaction():
            connection.execute(update, (kept,))
        with connection.transaction(force_rollback=True):
            connection.execute(update, (undone,))
    assert row is not None and int(row[0]) > 1 << 32
    until(lambda: town.shown([kept]) == {kept: False}, "the one is hidden")
    town.settle()
    assert town.shown([undone]) == {undone: True}
    assert town.letters() == []


def test_a_prepared_transaction_is_delivered_once_its_second_commit_has_come(town: Town) -> None:
    """Its row is hidden until then, whatever is delivered meanwhile."""
    first, later = town.mentors(2)
    town.worker()
    town.settle()
    name = f"behaviour-{first}"
    with town.side.admin() as connection:
        connection.execute("BEGIN")
        connection.execute("UPDATE app.mentor SET status = 'paused' WHERE id = %s", (first,))
        connection.execute(f"PREPARE TRANSACTION '{name}'".encode())
    town.set_status([later], "paused")
    until(lambda: town.shown([later]) == {later: False}, "what came later is delivered")
    assert town.shown([first]) == {first: True}
    town.side.sql(f"COMMIT PREPARED '{name}'")
    until(lambda: town.shown([first]) == {first: False}, "and then the first one", 60)
    town.settle()
    assert town.letters() == []


def test_offsets_that_kafka_forgot_while_every_worker_was_away_are_made_up_for_by_a_look_at_everybody(
    town: Town,
) -> None:
    """As after `offsets.retention.minutes`: the group is gone with all its offsets."""
    (mentor,) = town.mentors(1)
    worker = town.worker()
    town.settle()
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    town.set_status([mentor], "paused")
    admin = AdminClient({"bootstrap.servers": town.stack.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"]})
    for gone in admin.delete_consumer_groups([town.group]).values():
        gone.result(20)
    town.worker()
    until(lambda: town.shown([mentor]) == {mentor: False}, "the mentor is looked at", 60)


def test_a_registry_made_anew_gives_its_ids_to_other_schemas_and_no_mentor_stays_wrong(
    town: Town,
) -> None:
    """A worker keeps each schema that it has fetched, and ids begin at 1 again: records under ids
    that meant another table become letters, and bring their mentors a look all the same.
    """
    mentors = town.mentors(3)
    town.worker()
    town.settle()
    town.stack.kill("registry")
    shutil.rmtree(town.stack.layout.folder("registry"))
    town.stack.layout.folder("registry").mkdir(mode=0o700)
    town.stack.restart("registry")
    town.stack.restart("connect")
    town.side._schemas.clear()
    town.side.await_running()
    town.set_status(mentors, "paused")
    until(lambda: town.shown(mentors) == dict.fromkeys(mentors, False), "all are hidden", 90)
    fresh = town.worker()
    town.set_status(mentors, "active")
    until(lambda: town.shown(mentors) == dict.fromkeys(mentors, True), "all are shown", 90)
    assert fresh.is_ready()
