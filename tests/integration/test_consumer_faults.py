"""What Kafka's consumer does not survive, on a real broker: the worker says so, is not ready, and
reads on without a restart once the cause is gone.
"""

import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, ResourceType
from hlf_sync_sandbox.parts import kafka
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.acl import without
from tests.fixtures.source_side import CHANGES, SourceSide
from tests.fixtures.worker_process import Town, WorkerProcess, found_town, until

# Its tests restart Kafka twice and wait up to 90 s each time.
pytestmark = [pytest.mark.stack, pytest.mark.requirement("R40"), pytest.mark.timeout(300)]

_CLASSIC = '{"group.protocol": "classic", "session.timeout.ms": 6000}'


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[Town]:
    """A town of its own."""
    yield from found_town(stack, source_side, tmp_path)


@pytest.mark.behaviour
def test_a_right_that_is_taken_away_and_given_back_needs_no_restart(town: Town) -> None:
    """READ on the group: librdkafka's consumer is dead from then on. READ on the topic: it is told
    once. Both are said in the log, on the page and in the verdict, and the worker is not ready.
    """
    (mentor,) = town.mentors(1)
    worker = town.worker()
    town.settle()
    _take_away_and_give_back(town, worker, mentor, ResourceType.GROUP, town.group)
    _take_away_and_give_back(town, worker, mentor, ResourceType.TOPIC, CHANGES)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_position_that_goes_while_the_worker_runs_is_said_and_healed_by_a_sweep(
    town: Town,
) -> None:
    """Retention passes a worker that is slow: it reads on from the log's new start, and who was in
    between is looked at all the same.
    """
    (mentor, other) = town.mentors(2)
    worker = town.worker()
    town.settle()
    worker.signal(signal.SIGSTOP)
    town.set_status([mentor], "paused")
    town.side.settle()
    _delete_all(town)
    worker.signal(signal.SIGCONT)
    until(lambda: town.shown([mentor]) == {mentor: False}, "the mentor is looked at", 60)
    town.set_status([other], "paused")
    until(lambda: town.shown([other]) == {other: False}, "it reads on")
    assert "position_lost" in worker.output
    assert worker.metric("hlf_sync_sweeps_total") >= 1
    assert worker.is_ready()


def test_the_classic_protocol_works_when_asked_for(town: Town) -> None:
    """For brokers without the new one: assignment, take-over after a kill, and leaving."""
    (mentor,) = town.mentors(1)
    first = town.worker(KAFKA_OPTIONS=_CLASSIC)
    second = town.worker(KAFKA_OPTIONS=_CLASSIC)
    until(lambda: _partitions(first) and _partitions(second), "they share the partitions")
    first.kill()
    until(lambda: _partitions(second) == 12, "the other one takes over", 45)
    town.set_status([mentor], "paused")
    until(lambda: town.shown([mentor]) == {mentor: False}, "it delivers")
    second.signal(signal.SIGTERM)
    assert second.wait() == 0


@pytest.mark.behaviour
def test_a_worker_whose_instance_id_another_one_holds_joins_once_it_is_free(town: Town) -> None:
    """A habit of StatefulSets: a killed worker's id is held until its session ends. Until then the
    successor is refused, which its client does not survive; it says so, and does not call itself
    a standby.
    """
    options = f'{{"group.instance.id": "worker-{uuid4()}"}}'
    holder = town.worker(KAFKA_OPTIONS=options)
    successor = town.worker(is_awaited=False, KAFKA_OPTIONS=options)
    until(lambda: "UNRELEASED_INSTANCE_ID" in successor.output, "it says what refuses it", 90)
    status = successor.status()
    assert (status["verdict"], status["reason"]) == ("stalled", "consumer_failed")
    holder.kill()
    until(successor.is_ready, "it works", 90)
    assert successor.status()["consumer"]["error_code"] is None


@pytest.mark.behaviour
def test_brokers_without_the_new_group_protocol_are_named_and_waited_for(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not 'standby' for ever; once they offer it the worker reads on."""
    with monkeypatch.context() as old:
        old.setitem(kafka._SETTINGS, "group.coordinator.rebalance.protocols", "classic")
        town.stack.restart("kafka")
        worker = town.worker(is_awaited=False)
        until(lambda: "UNSUPPORTED_VERSION" in worker.output, "it says what the brokers lack", 90)
        status = worker.status()
        assert (status["verdict"], status["reason"]) == ("stalled", "consumer_failed")
        assert "classic" in " ".join(status["not_ready"])
        assert worker.get("/readyz").status_code == 503
    town.stack.restart("kafka")
    until(worker.is_ready, "it reads on", 90)


def _take_away_and_give_back(
    town: Town, worker: WorkerProcess, mentor: str, kind: ResourceType, name: str
) -> None:
    restarts = worker.status()["consumer"]["restarts"]
    status = "paused" if town.shown([mentor])[mentor] else "active"
    with without(_servers(town), ((kind, name), AclOperation.READ)):
        town.set_status([mentor], status)
        until(lambda: worker.status()["reason"] == "consumer_failed", f"it says so of its {kind}")
        assert f"{kind.name}_AUTHORIZATION_FAILED" in worker.status()["consumer"]["because"]
        until(lambda: f"{kind.name}_AUTHORIZATION_FAILED" in worker.output, "its log does")
        assert worker.get("/readyz").status_code == 503
        assert worker.metric("hlf_sync_consumer_failing") == 1
    wanted = {mentor: status == "active"}
    until(lambda: town.shown([mentor]) == wanted, "it reads on", 60)
    until(worker.is_ready, "it is ready")
    assert worker.metric("hlf_sync_consumer_restarts_total") > restarts


def _delete_all(town: Town) -> None:
    """As retention does: nothing of the log is left."""
    admin = AdminClient({"bootstrap.servers": _servers(town)})
    ends = [
        TopicPartition(topic, number, end)
        for (topic, number), end in town.side.ends(CHANGES).items()
    ]
    for deleted in admin.delete_records(ends).values():
        deleted.result(10)


def _servers(town: Town) -> str:
    return str(town.stack.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"])


def _partitions(worker: WorkerProcess) -> int:
    return len(worker.status()["assignment"])
