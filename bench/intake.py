"""What a change costs the worker that needs no call, step by step, without Kafka and PostgreSQL:
record, decode, take in, finish. Beside fastavro decoding the same records in the same run.

`bench/intake.py [--changes 200000] [--mentors 1000]`. Time is this thread's CPU time, best of three
rounds. Read the ratios.
"""

import argparse
import asyncio
import io
import json
import time
import uuid
from collections.abc import Callable

import fastavro
from hlf_sync.core.mentor_queue import MentorQueue
from hlf_sync.core.model import Position, Record
from hlf_sync.decode.decoder import Decoder
from hlf_sync.decode.schema import SchemaCache
from hlf_sync.pipeline.assignment import Assignment
from hlf_sync.pipeline.intake import Intake
from hlf_sync.pipeline.patience import Dependencies
from hlf_sync.pipeline.schemas import Schemas
from hlf_sync.pipeline.tracer import NoTracer
from hlf_sync.telemetry.metrics import Metrics

from tests.fakes.worker import SilentRegistry
from tests.fixtures.debezium import COMMITTED_MS, ROWS, SCHEMAS, envelope

_ROUNDS = 3
_PARTITIONS = 12
_BATCH = 500
_TABLE = "app.mentor"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=200_000)
    parser.add_argument("--mentors", type=int, default=1_000)
    asked = parser.parse_args()
    found = records(asked.changes, asked.mentors)
    print(json.dumps(asyncio.run(measure(found)), indent=2))


async def measure(found: list[Record]) -> dict[str, float]:
    """Microseconds of CPU per change."""
    cache = SchemaCache()
    cache.add(1, SCHEMAS[_TABLE].text)
    decoder, position = Decoder("HLF", cache), Position(0, 0)

    def decode() -> None:
        for record in found:
            decoder.decode(record.key, record.value, position, record.timestamp_ms)

    schema = fastavro.parse_schema(json.loads(SCHEMAS[_TABLE].text))

    def by_fastavro() -> None:
        for record in found[:20_000]:
            fastavro.schemaless_reader(io.BytesIO((record.value or b"")[5:]), schema, None)

    def whole() -> None:
        queue, assignment, metrics = MentorQueue(), Assignment(), Metrics(lambda: COMMITTED_MS)
        assignment.assign(list(range(_PARTITIONS)))
        intake = Intake(
            decoder=decoder,
            assignment=assignment,
            queue=queue,
            meter=metrics,
            tracer=NoTracer(),
            schemas=Schemas(SilentRegistry(), Dependencies(), patience_s=60),
            undecodable=lambda *_: None,
            truncated=lambda *_: None,
            unparked=lambda: None,
        )
        now_s = 0.0
        for start in range(0, len(found), _BATCH):
            intake.take(found[start : start + _BATCH], now_s)
            now_s += _BATCH / 60_000
            for entry in queue.take(1_000_000, now_s):
                changes = queue.finish(entry, now_s)
                assignment.finish_changes(changes)
                metrics.changes("no_call", 1)

    fast_us = best(by_fastavro, 20_000)
    decode_us, whole_us = best(decode, len(found)), best(whole, len(found))
    return {
        "fastavro_us": fast_us,
        "decode_us": decode_us,
        "with_queue_and_offsets_us": whole_us,
        "of_fastavro": round(whole_us / fast_us, 3),
    }


def best(work: Callable[[], None], count: int) -> float:
    """Microseconds each, the quickest of some rounds."""
    took = []
    for _ in range(_ROUNDS):
        started_s = time.thread_time()
        work()
        took.append(time.thread_time() - started_s)
    return round(min(took) / count * 1e6, 2)


def records(changes: int, mentors: int) -> list[Record]:
    """Updates of the mentors in turn."""
    names = [str(uuid.UUID(int=number + 1, version=4)) for number in range(mentors)]
    kept: list[Record] = []
    for number in range(changes):
        name, ts_ms = names[number % mentors], COMMITTED_MS + number
        datum = envelope(_TABLE, "u", after=ROWS[_TABLE] | {"id": name}, ts_ms=ts_ms, txId=number)
        value = SCHEMAS[_TABLE].value(1, datum)
        kept.append(Record(number % _PARTITIONS, number, name.encode(), value, ts_ms + 30))
    return kept


if __name__ == "__main__":
    main()
