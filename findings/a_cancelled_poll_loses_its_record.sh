#!/usr/bin/env bash
# Question: an asyncio program waits for a record with confluent-kafka's AIOConsumer under a time limit (asyncio.wait_for). The limit
#   passes, and a record arrives a moment later. Who gets it?
# Guess: the next poll: a cancelled wait takes nothing, as with asyncio.Queue.get and streams.
# What happens: nobody. The poll that was cancelled goes on in its thread, takes the record and throws it away; the consumer's position
#   moves behind it, and the next commit tells the broker that it was handled. `consume` loses whatever it had gathered in the same way.
#   The limit that belongs there is the method's own argument: `poll(0.5)` instead of a limit around it.
# Versions: confluent-kafka 2.16.1 (librdkafka 2.16.0), broker: librdkafka's own mock cluster.
# Seen: sent 0 to 4; poll gave 0, 2; consume gave 4; 1 and 3 never came; committed: 5. With poll's own limit: all five.
source "$(dirname "$0")/lab.sh"
lab confluent-kafka==2.16.1
"$LAB/bin/python" - <<'PY' 2>/dev/null
import asyncio

import confluent_kafka
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.aio import AIOConsumer

print("confluent-kafka", confluent_kafka.version(), "librdkafka", confluent_kafka.libversion()[0])
producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock"})
broker = next(f"{b.host}:{b.port}" for b in producer.list_topics(timeout=10).brokers.values())


def send(topic: str, number: int) -> None:
    producer.produce(topic, str(number).encode(), partition=0)
    producer.flush(10)


async def within(waiting, limit_s: float) -> object:
    """What asyncio's own limit makes of it."""
    try:
        return await asyncio.wait_for(waiting, limit_s)
    except TimeoutError:
        return None


async def read(topic: str, *, is_around: bool) -> tuple[list[int], int]:
    """The five records one after the other, the second and the fourth one after a wait in vain; and what is committed."""
    send(topic, 0)
    consumer = AIOConsumer(
        {"bootstrap.servers": broker, "group.id": topic, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    )
    await consumer.subscribe([topic])
    found = [await consumer.poll(30)]
    assert await (within(consumer.poll(5), 0.5) if is_around else consumer.poll(0.5)) is None
    send(topic, 1)
    await asyncio.sleep(2)
    send(topic, 2)
    while (record := await consumer.poll(3)) is not None:
        found.append(record)
    assert not await (within(consumer.consume(1, 5), 0.5) if is_around else consumer.consume(1, 0.5))
    send(topic, 3)
    await asyncio.sleep(2)
    send(topic, 4)
    while records := await consumer.consume(1, 3):
        found += records
    await consumer.commit(asynchronous=False)
    (committed,) = await consumer.committed([TopicPartition(topic, 0)], timeout=10)
    await consumer.close()
    return [int(record.value()) for record in found], committed.offset


for topic, is_around, wanted in (("own", False, [0, 1, 2, 3, 4]), ("around", True, [0, 2, 4])):
    found, committed = asyncio.run(read(topic, is_around=is_around))
    print(f"the limit is {'around the call' if is_around else 'its argument'}: came {found}, committed {committed}")
    assert (found, committed) == (wanted, 5), (found, committed)
PY
