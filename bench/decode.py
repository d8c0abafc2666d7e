"""How fast records are decoded: ours, beside fastavro with a cached schema and confluent's
AvroDeserializer on the same records in the same run.

Run by `make bench`, or `python -m bench.decode [records]`. The records are the shapes that Debezium
3.7 writes (tests/fixtures/debezium.py). Time is this thread's CPU time, best of several rounds, so
that other work on the machine disturbs little. Read the ratios. Confluent's deserializer is left
out where its extra is not installed (`confluent-kafka[avro,schemaregistry]`, which the worker does
not need).
"""

import io
import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import fastavro
from hlf_sync.core.model import Position
from hlf_sync.decode.decoder import Decoder
from hlf_sync.decode.schema import SchemaCache

from tests.fixtures.debezium import COMMITTED_MS, ROWS, SCHEMAS, envelope

_ROUNDS = 5
_POSITION = Position(0, 0)
_TABLES = ("app.mentor", "app.certification", "hlf_sync.contact_mapping", "hlf_sync.sync_request")


@dataclass(frozen=True)
class _Sample:
    name: str
    table: str
    records: list[tuple[bytes, bytes, int]]


def main(count: int) -> None:
    """Print a table."""
    ids = {table: number for number, table in enumerate(_TABLES, 1)}
    cache = SchemaCache()
    for table, schema_id in ids.items():
        cache.add(schema_id, SCHEMAS[table].text)
    ours = Decoder("HLF", cache, prefix="hlf", database="mentors")
    print(
        f"{'records':34} {'bytes':>5} {'ours':>9} {'fastavro':>9} {'confluent':>9}   records/s of"
        " one core, and how many times as fast"
    )
    for sample in _samples(ids, count):
        by_us = _rate(lambda one: ours.decode(one[0], one[1], _POSITION, one[2]), sample)
        by_fastavro = _rate(_fastavro(sample.table), sample)
        confluent = _confluent(sample.table, ids[sample.table])
        by_confluent = _rate(confluent, sample) if confluent else float("nan")
        size = sum(len(value) for _, value, _ in sample.records) / count
        rates = f"{by_us:9,.0f} {by_fastavro:9,.0f} {by_confluent:9,.0f}"
        print(
            f"{sample.name:34} {size:5.0f} {rates}   {by_us / by_fastavro:.1f} x,"
            f" {by_us / by_confluent:.1f} x"
        )


def _samples(ids: dict[str, int], count: int) -> Iterator[_Sample]:
    for table in _TABLES:
        yield _Sample(
            f"{table}, update", table, list(_records(table, ids[table], count, ROWS[table]))
        )
    elsewhere = ROWS["app.mentor"] | {"organization_code": "OTHER"}
    yield _Sample(
        "app.mentor, another organisation",
        "app.mentor",
        list(_records("app.mentor", ids["app.mentor"], count, elsewhere)),
    )
    unusual = ROWS["app.mentor"] | {"status": "x" * 64}
    yield _Sample(
        "app.mentor, unusual: walked",
        "app.mentor",
        list(_records("app.mentor", ids["app.mentor"], count, unusual)),
    )


def _records(
    table: str, schema_id: int, count: int, row: dict[str, Any]
) -> Iterator[tuple[bytes, bytes, int]]:
    column = "id" if table == "app.mentor" else "mentor_id"
    for number in range(count):
        mentor, ts_ms = (
            str(uuid.UUID(int=(number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128))),
            COMMITTED_MS + number * 977,
        )
        nanos: dict[str, Any] = {"ts_us": ts_ms * 1000 + 7, "ts_ns": ts_ms * 1_000_000 + 7_000}
        datum = envelope(
            table,
            "u",
            after=row | {column: mentor},
            ts_ms=ts_ms,
            txId=70_000 + number,
            lsn=24_023_400 + number * 312,
            **nanos,
        )
        yield mentor.encode(), SCHEMAS[table].value(schema_id, datum), ts_ms + 30


def _rate(read: Callable[[tuple[bytes, bytes, int]], object], sample: _Sample) -> float:
    best_s = float("inf")
    for _ in range(_ROUNDS):
        started_s = time.thread_time()
        for record in sample.records:
            read(record)
        best_s = min(best_s, time.thread_time() - started_s)
    return len(sample.records) / best_s


def _fastavro(table: str) -> Callable[[tuple[bytes, bytes, int]], object]:
    schema = fastavro.parse_schema(json.loads(SCHEMAS[table].text))
    return lambda record: fastavro.schemaless_reader(io.BytesIO(record[1][5:]), schema, None)


def _confluent(table: str, schema_id: int) -> Callable[[tuple[bytes, bytes, int]], object] | None:
    """With the schema in its cache, so that it asks nobody."""
    try:
        registry = import_module("confluent_kafka.schema_registry")
        avro = import_module("confluent_kafka.schema_registry.avro")
        serialization = import_module("confluent_kafka.serialization")
    except ImportError:
        return None
    client = registry.SchemaRegistryClient({"url": "http://127.0.0.1:1"})
    for subject in (None, "hlf.mentor.changes-value"):
        client._cache.set_schema(  # noqa: SLF001 - no public way in
            subject, schema_id, None, registry.Schema(SCHEMAS[table].text, "AVRO")
        )
    read = avro.AvroDeserializer(
        client, conf={"subject.name.strategy": registry.topic_subject_name_strategy}
    )
    context = serialization.SerializationContext(
        "hlf.mentor.changes", serialization.MessageField.VALUE
    )
    return lambda record: read(record[1], context)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000)
