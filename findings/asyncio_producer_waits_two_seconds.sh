#!/usr/bin/env bash
# Question: how long does one awaited record take with confluent-kafka's asyncio producer, beside its classic producer?
# Guess: about a round trip (linger is 5 ms by default).
# What happens: AIOProducer keeps records in a buffer of its own until 1,000 are there or its timer has passed: whoever awaits one
#   record before sending the next waits two seconds for each. `flush()` sends at once. Headers are refused (NotImplementedError).
# Versions: confluent-kafka 2.16.1 (librdkafka 2.16.0), broker: librdkafka's own mock cluster.
# Seen: classic 1 ms to 50 ms; asyncio 2.0 s each, three times in a row; flush a few ms.
source "$(dirname "$0")/lab.sh"
lab confluent-kafka==2.16.1
"$LAB/bin/python" - <<'PY' 2>/dev/null
import asyncio
import time

import confluent_kafka
from confluent_kafka import Producer
from confluent_kafka.aio import AIOProducer

print("confluent-kafka", confluent_kafka.version(), "librdkafka", confluent_kafka.libversion()[0])
classic = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock"})
broker = next(f"{b.host}:{b.port}" for b in classic.list_topics(timeout=10).brokers.values())
classic.produce("t", b"first")
classic.flush(10)
begun = time.monotonic()
classic.produce("t", b"second")
classic.flush(10)
classic_s = time.monotonic() - begun


async def measure() -> tuple[list[float], float, bool]:
    producer = AIOProducer({"bootstrap.servers": broker})
    waits = []
    for _ in range(3):
        begun = time.monotonic()
        await (await producer.produce("t", b"value"))
        waits.append(time.monotonic() - begun)
    begun = time.monotonic()
    sent = await producer.produce("t", b"value")
    await producer.flush()
    await sent
    flushed_s = time.monotonic() - begun
    try:
        await producer.produce("t", b"value", headers={"a": b"1"})
    except NotImplementedError:
        refuses_headers = True
    else:
        refuses_headers = False
    await producer.close()
    return waits, flushed_s, refuses_headers


waits, flushed_s, refuses_headers = asyncio.run(measure())
print(f"classic {classic_s:.3f} s; asyncio {[round(w, 2) for w in waits]} s; with flush {flushed_s:.3f} s; headers refused: {refuses_headers}")
assert min(waits) > 1 > max(classic_s, flushed_s)
assert refuses_headers
PY
