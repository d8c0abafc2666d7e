"""The dead-letter topic missing, too small for a letter, forbidden, away: no offset passes, the
worker says so, and goes on when it is repaired.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)
from hlf_sync.worker.connector_restart import CONNECTOR
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.acl import ALL_TOPICS, ANYTHING, CLUSTER, without
from tests.fixtures.replay_town import ReplayTown, found_replay_town
from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import WorkerProcess, until

pytestmark = [pytest.mark.stack, pytest.mark.requirement("R43")]

# Otherwise the producer looks for a missing topic for half a minute.
_IMPATIENT = '{"topic.metadata.propagation.max.ms": 1000}'
# Otherwise it hopes for half a minute that the broker comes back before it says that a letter was
# not taken.
_HASTY = '{"delivery.timeout.ms": 1000}'


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[ReplayTown]:
    """A town whose letters lie in a topic of its own."""
    yield from found_replay_town(stack, source_side, tmp_path)


def test_a_letter_that_cannot_be_written_holds_its_offset_until_it_can(town: ReplayTown) -> None:
    """And nobody else: the mentors are worked on meanwhile."""
    (mentor,) = town.town.mentors(1)
    worker = town.worker(KAFKA_OPTIONS=_IMPATIENT)
    town.town.settle()
    town.delete_topic()
    _check_one(town, worker, town.create_topic)
    _limit(town, "50")
    _check_one(town, worker, lambda: _limit(town, "1048588"))
    _forbid(town)
    _check_one(town, worker, lambda: _allow(town))
    town.town.set_status([mentor], "paused")
    until(lambda: town.town.shown([mentor]) == {mentor: False}, "others go on")
    assert town.plan()["counts"]["investigate"] == 3


def test_a_letter_that_is_due_while_the_broker_is_down_is_written_when_it_is_back(
    town: ReplayTown,
) -> None:
    """Dynamics refuses while Kafka is away: the mentor's claim ends only with its letter."""
    (mentor,) = town.town.mentors(1)
    worker = town.worker(
        KAFKA_OPTIONS=_HASTY, REQUEST_TIMEOUT_S="30", LEASE_S="60"
    )  # the held call runs into no time-out
    town.town.settle()
    town.town.dynamics.fault("not-found", contact=mentor, hold="refusal")
    town.town.set_status([mentor], "paused")
    until(lambda: bool(town.town.dynamics.held()), "the call is under way")
    town.town.stack.kill("kafka")
    town.town.dynamics.release("refusal")
    until(
        lambda: "dead-letter topic" in worker.status()["dependencies_down"],
        "the worker says what it misses",
        60,
    )
    assert town.in_state("dead_lettered", [mentor]) == []
    town.town.stack.restart("kafka")
    town.await_letters([mentor])
    until(lambda: town.town.lag() == 0, "the offset passes", 45)
    assert [letter["mentor_id"] for letter in town.plan("--mentor", mentor)["letters"]] == [mentor]


@pytest.mark.behaviour
def test_a_producer_that_may_not_write_idempotently_is_made_anew_until_it_may(
    town: ReplayTown,
) -> None:
    """Neither IDEMPOTENT_WRITE nor WRITE anywhere: librdkafka's producer is dead from then on. The
    worker says which right is missing, and writes once it is granted.
    """
    town.poison(str(uuid4()))
    servers = town.town.stack.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"]
    rights = ((CLUSTER, AclOperation.IDEMPOTENT_WRITE), (ALL_TOPICS, AclOperation.WRITE))
    with _paused(town.town.side), without(servers, *rights):
        worker = town.worker(is_awaited=False)
        until(lambda: '"started"' in worker.output, "the worker is up")
        until(
            lambda: "CLUSTER_AUTHORIZATION_FAILED" in " ".join(worker.status()["not_ready"]),
            "the worker says which right it misses",
        )
        # The connector may not write either, and its task may have noticed first.
        assert worker.status()["reason"] in {
            "letters_unwritable",
            "connector_failed",
            "connector_paused",  # by this test
        }
        assert town.town.lag() >= 1
    until(lambda: town.town.lag() == 0, "the letter is written once it may be", 45)
    assert town.plan()["counts"]["investigate"] == 1


def _check_one(town: ReplayTown, worker: WorkerProcess, repair: Callable[[], None]) -> None:
    town.poison(str(uuid4()))
    until(
        lambda: "dead-letter topic" in worker.status()["dependencies_down"],
        "the worker says what it misses",
    )
    assert town.town.lag() >= 1
    repair()
    until(lambda: town.town.lag() == 0, "the letter is written once it can be", 45)


def _limit(town: ReplayTown, value: str) -> None:
    """How large a record of the topic may be, bytes."""
    entry = ConfigEntry("max.message.bytes", value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, town.topic, incremental_configs=[entry])
    for future in town.admin.incremental_alter_configs([resource]).values():
        future.result(10)


def _forbid(town: ReplayTown) -> None:
    """Everybody may everything with the topic, but write to it. A prohibition wins."""
    rules = [
        _rule(town, AclOperation.ALL, AclPermissionType.ALLOW),
        _rule(town, AclOperation.WRITE, AclPermissionType.DENY),
    ]
    for future in town.admin.create_acls(rules).values():
        future.result(10)


@contextmanager
def _paused(side: SourceSide) -> Iterator[None]:
    """Debezium's producer would be lost for good as well."""
    side.connect.put(f"/connectors/{CONNECTOR}/pause").raise_for_status()
    side.await_state("PAUSED")
    try:
        yield
    finally:
        side.connect.put(f"/connectors/{CONNECTOR}/resume").raise_for_status()
        side.await_state("RUNNING")
        side.settle()


def _rule(town: ReplayTown, operation: AclOperation, permission: AclPermissionType) -> AclBinding:
    return AclBinding(
        ResourceType.TOPIC,
        town.topic,
        ResourcePatternType.LITERAL,
        "User:*",
        "*",
        operation,
        permission,
    )


def _allow(town: ReplayTown) -> None:
    every = AclBindingFilter(
        ResourceType.TOPIC,
        town.topic,
        ResourcePatternType.LITERAL,
        ANYTHING,
        ANYTHING,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    for future in town.admin.delete_acls([every]).values():
        future.result(10)
