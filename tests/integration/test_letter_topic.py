"""The dead-letter topic missing, and too small for a letter: no offset passes, the worker says so, and goes on when it is repaired."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType  # type: ignore[attr-defined]

from sandbox.stack import Sandbox
from tests.fixtures.replay_town import ReplayTown, found_replay_town
from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import until

pytestmark = [pytest.mark.stack, pytest.mark.requirement("R43")]

# Otherwise the producer looks for a missing topic for half a minute.
_IMPATIENT = '{"topic.metadata.propagation.max.ms": 1000}'


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
    _check_one(town, lambda: "dead-letter topic" in worker.status()["dependencies_down"], town.create_topic)
    _limit(town, "50")
    _check_one(town, lambda: "dead-letter topic" in worker.status()["dependencies_down"], lambda: _limit(town, "1048588"))
    town.town.set_status([mentor], "paused")
    until(lambda: town.town.shown([mentor]) == {mentor: False}, "others go on")
    assert town.plan()["counts"]["investigate"] == 2


def _check_one(town: ReplayTown, is_said: Callable[[], bool], repair: Callable[[], None]) -> None:
    town.poison(str(uuid4()))
    until(is_said, "the worker says what it misses")
    assert town.town.lag() >= 1
    repair()
    until(lambda: town.town.lag() == 0, "the letter is written once it can be", 45)


def _limit(town: ReplayTown, value: str) -> None:
    """How large a record of the topic may be, bytes."""
    entry = ConfigEntry("max.message.bytes", value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, town.topic, incremental_configs=[entry])
    for future in town.admin.incremental_alter_configs([resource]).values():
        future.result(10)
