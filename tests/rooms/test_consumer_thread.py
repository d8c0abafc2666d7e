"""The consumer thread with a scripted consumer: lives that end, positions that go, a loop that is
stuck.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError
from hlf_sync.core.model import Record
from hlf_sync.kafka.consumer_session import SourcePolicy
from hlf_sync.kafka.consumer_thread import KafkaSource

from tests.fakes.kafka import TOPIC, Maker, ScriptedMessage

LOST = KafkaError(KafkaError._AUTO_OFFSET_RESET)
FATAL = {
    "UNSUPPORTED_VERSION": "Fatal error: Broker: API version not supported: no",
    "GROUP_AUTHORIZATION_FAILED": "Fatal error: Broker: Group authorization failed: no",
    "GROUP_MAX_SIZE_REACHED": "Fatal error: Broker: Consumer group has reached maximum size: no",
    "UNRELEASED_INSTANCE_ID": (
        "Fatal error: Broker: The instance ID is still used by another member in the consumer"
        " group: no"
    ),
}
UNKNOWN = "Broker: Unexpected error when processing the request"


class Ear:
    """A listener that keeps what it heard, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.hold = asyncio.Event()
        self.hold.set()

    def records(self, records: list[Record]) -> None:
        self.heard.append(("records", [(r.partition, r.offset) for r in records]))

    def assigned(self, partitions: list[int]) -> None:
        self.heard.append(("assigned", partitions))

    async def revoked(self, partitions: list[int]) -> Mapping[int, int]:
        await self.hold.wait()
        self.heard.append(("revoked", partitions))
        return {}

    def lost(self, partitions: list[int]) -> None:
        self.heard.append(("lost", partitions))

    def positions_lost(self, partitions: list[int]) -> None:
        self.heard.append(("positions_lost", partitions))

    def never_committed(self, partitions: list[int]) -> None:
        self.heard.append(("never_committed", partitions))

    def kafka_failed(self, reason: str) -> None:
        self.heard.append(("kafka_failed", reason))

    def kafka_answered(self) -> None:
        self.heard.append(("kafka_answered", None))


class Reader:
    """A source, its listener, and the consumers it has made."""

    def __init__(self, policy: SourcePolicy | None = None, **facts: Any) -> None:
        self.maker, self.ear = Maker(**facts), Ear()
        policy = policy or SourcePolicy(TOPIC, revocation_s=0.2)
        loop = asyncio.get_running_loop()
        self.source = KafkaSource({}, policy, self.ear, loop, make=self.maker)  # type: ignore[arg-type]
        self.source.start()


@pytest.fixture
async def reader() -> AsyncIterator[Reader]:
    """With an empty log and nothing committed."""
    found = Reader()
    yield found
    await found.source.stop()


async def until(is_so: Callable[[], object], otherwise: str) -> None:
    end_s = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end_s, otherwise
        await asyncio.sleep(0.01)


def fatal(code: str) -> ScriptedMessage:
    """As librdkafka tells it: one polled event of no topic."""
    return ScriptedMessage(0, -1001, KafkaError(KafkaError._FATAL, FATAL.get(code, code)))


@pytest.mark.requirement("R40")
@pytest.mark.parametrize("code", FATAL)
async def test_a_consumer_that_failed_for_good_is_closed_and_made_anew(
    reader: Reader, code: str
) -> None:
    """Named by its cause; its partitions are lost, and the next consumer reads on."""
    first = reader.maker.made[0]
    first.assign(0, 1)
    first.give(ScriptedMessage(0, 7), fatal(code))
    await until(lambda: len(reader.maker.made) == 2, "another one is made")
    assert first.is_closed
    assert reader.source.trouble is not None and reader.source.trouble.error_code == code
    assert reader.source.restarts == 1
    heard = [what for what in reader.ear.heard if what[0] != "never_committed"]
    assert heard == [("assigned", [0, 1]), ("records", [(0, 7)]), ("lost", [0, 1])]
    second = reader.maker.made[1]
    second.assign(0)
    second.give(ScriptedMessage(0, 7))
    await until(lambda: reader.source.trouble is None, "it is well again")
    assert reader.source.is_alive


async def test_what_nobody_has_a_name_for_makes_it_anew_too(reader: Reader) -> None:
    """UNKNOWN_SERVER_ERROR on a heartbeat, and whatever comes after it."""
    reader.maker.made[0].give(ScriptedMessage(0, -1, KafkaError(KafkaError._FATAL, "something")))
    await until(lambda: len(reader.maker.made) == 2, "another one is made")
    assert reader.source.trouble is not None


async def test_a_consumer_that_the_group_does_not_know_is_made_anew_when_asked(
    reader: Reader,
) -> None:
    """The last resort: it says nothing, and owns nothing that anybody sees."""
    reader.source.renew()
    await until(lambda: len(reader.maker.made) == 2, "another one is made")
    assert reader.maker.made[0].is_closed


async def test_nothing_of_a_failed_consumer_is_committed_by_the_next_one(reader: Reader) -> None:
    """Its partitions may have gone to somebody who is further."""
    first = reader.maker.made[0]
    first.assign(0)
    await until(lambda: ("assigned", [0]) in reader.ear.heard, "it is assigned")
    reader.source.commit_soon({0: 5})
    await until(lambda: ("commit", {0: 5}) in first.done, "it is committed")
    first.give(fatal("GROUP_MAX_SIZE_REACHED"))
    await until(lambda: len(reader.maker.made) == 2, "another one is made")
    reader.maker.made[1].assign(0)
    await until(lambda: reader.ear.heard[-1][0] == "assigned", "it is assigned again")
    assert not [what for what in reader.maker.made[1].done if what[0] == "commit"]


@pytest.mark.requirement("R40")
async def test_a_record_lost_in_the_middle_of_a_batch_hides_none_of_the_new_log(
    reader: Reader,
) -> None:
    """A topic made anew: what was read of the old log comes before the loss is told, what was
    fetched after it is dropped, and other partitions go on.
    """
    consumer = reader.maker.made[0]
    consumer.assign(0, 1)
    consumer.give(
        ScriptedMessage(0, 1_000),
        ScriptedMessage(0, -1, LOST),
        ScriptedMessage(0, 1_001),
        ScriptedMessage(1, 5),
    )
    consumer.give(ScriptedMessage(0, 0), ScriptedMessage(0, 1))
    await until(lambda: reader.ear.heard[-1:] == [("records", [(0, 0), (0, 1)])], "the new log")
    assert [what for what in reader.ear.heard if what[0] != "never_committed"] == [
        ("assigned", [0, 1]),
        ("records", [(0, 1_000)]),
        ("positions_lost", [0]),
        ("lost", [0]),
        ("assigned", [0]),
        ("records", [(1, 5)]),
        ("records", [(0, 0), (0, 1)]),
    ]
    assert consumer.done[-2:] == [("unassign", [0]), ("assign", [(0, OFFSET_BEGINNING)])]


@pytest.mark.parametrize(
    ("log_range", "committed_at", "told"),
    [
        ((0, 9), -1001, "never_committed"),
        ((4, 9), -1001, "positions_lost"),
        ((4, 4), -1001, "positions_lost"),
        ((4, 9), 3, "positions_lost"),
        ((4, 9), 10, "positions_lost"),
        ((4, 9), 4, None),
        ((0, 0), -1001, None),
    ],
)
@pytest.mark.requirement("R40")
async def test_what_retention_took_before_the_first_start_is_lost_too(
    log_range: tuple[int, int], committed_at: int, told: str | None
) -> None:
    """No committed offset, and a log that begins above 0: a sweep is owed whatever the ledger
    holds.
    """
    reader = Reader(log_range=log_range, committed_at=committed_at)
    reader.maker.made[0].assign(3)
    await until(lambda: ("assigned", [3]) in reader.ear.heard, "it is assigned")
    told_of = [name for name, _ in reader.ear.heard if name != "assigned"]
    assert told_of == ([] if told is None else [told])
    await reader.source.stop()


@pytest.mark.requirement("R40")
async def test_a_loop_that_was_stuck_during_a_revocation_gives_the_partitions_up_when_it_turns(
    reader: Reader,
) -> None:
    """The revocation is cut short, since the group cannot wait; what it could not say is said
    after it.
    """
    reader.ear.hold.clear()
    consumer = reader.maker.made[0]
    consumer.assign(2)
    consumer.revoke(2)
    await until(lambda: ("lost", [2]) in reader.ear.heard, "they are given up")
    assert ("revoked", [2]) not in reader.ear.heard
    assert ("unassign", [2]) in consumer.done


async def test_what_is_quiet_is_committed_again_before_kafka_forgets_it() -> None:
    """With the offset that it had at the assignment, or the last one that was finished."""
    reader = Reader(log_range=(0, 9), committed_at=4, policy=SourcePolicy(TOPIC, recommit_s=0.05))
    consumer = reader.maker.made[0]
    consumer.assign(0, 1)
    await until(lambda: ("assigned", [0, 1]) in reader.ear.heard, "it is assigned")
    reader.source.commit_soon({0: 6})
    await until(lambda: consumer.done.count(("commit", {0: 6, 1: 4})) >= 2, "both, again and again")
    await reader.source.stop()


@pytest.mark.requirement("R48")
async def test_a_worker_that_stands_aside_leaves_the_group_and_joins_it_again(
    reader: Reader,
) -> None:
    """What is finished is committed, no consumer is made meanwhile, and the thread lives on."""
    first = reader.maker.made[0]
    first.assign(0)
    await until(lambda: first.done, "the partition is assigned")
    reader.source.commit_soon({0: 5})
    reader.source.set_aside(True)
    await until(lambda: first.is_closed, "the consumer leaves the group")
    assert ("commit", {0: 5}) in first.done
    reader.source.renew()
    turned_s = reader.source.last_turn_s
    await until(lambda: reader.source.last_turn_s > turned_s + 0.2, "the thread turns")
    assert (len(reader.maker.made), reader.source.is_alive) == (1, True)
    assert reader.source.trouble is None
    reader.source.set_aside(False)
    await until(lambda: len(reader.maker.made) == 2, "another consumer is made")
    await until(reader.maker.made[1].subscribed.is_set, "it joins the group")


async def test_a_quiet_thread_turns_seldom_and_a_record_ends_its_wait_at_once(
    reader: Reader,
) -> None:
    """A second after the last record it waits a quarter of a second at a time; the next record is
    handed over when it comes, and the thread is quick again.
    """
    (consumer,) = reader.maker.made
    waits: list[float] = []
    poll = consumer.poll

    def noted(seconds: float) -> ScriptedMessage | None:
        waits.append(seconds)
        return poll(seconds)

    consumer.poll = noted  # type: ignore[method-assign]
    await until(lambda: waits and waits[-1] == 0.25, "a long wait")
    consumer.give(ScriptedMessage(0, 7))
    began_s = time.monotonic()
    await until(lambda: ("records", [(0, 7)]) in reader.ear.heard, "the record")
    assert time.monotonic() - began_s < 5.0
    await until(lambda: waits[-1] == 0.05, "short waits again")
    await until(lambda: waits[-1] == 0.25, "a long wait again")
    reader.source.commit_soon({0: 8})
    await until(lambda: waits[-1] == 0.05, "short waits while something is to be committed")
