"""One letter explained, and the source record it points at described. Called by `replay show`;
reads only.

Of a record that cannot be read it tells sizes, framing, schema and what is wrong; never a value,
never bytes: they are the application's, and may be personal.
"""

import asyncio
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from hlf_sync.core.dead_letter import DeadLetter
from hlf_sync.core.model import Change, LetterKind, Position, Record, Undecodable, UnknownSchema
from hlf_sync.decode.avro import RecordType
from hlf_sync.decode.decoder import Decoder
from hlf_sync.decode.framing import schema_id_of
from hlf_sync.decode.schema import SchemaCache, WriterSchema
from hlf_sync.errors import SettingsError
from hlf_sync.kafka.dead_letter_topic import fetch
from hlf_sync.postgres.connections import named_rows, reaching
from hlf_sync.postgres.statements import replay as sql
from hlf_sync.registry.client import Denied, SchemaText, Unreachable, Unusable
from hlf_sync.replay.judgement import Letter
from hlf_sync.replay.standings import Judged
from hlf_sync.replay.workplace import Workplace


@dataclass(frozen=True, slots=True)
class Explained:
    """Everything there is to say of one letter. `record` only for an undecodable one."""

    letter: Letter
    whole: DeadLetter | None
    judged: Judged
    requests: list[dict[str, Any]]
    failure: dict[str, Any] | None
    record: dict[str, Any] | None


async def explain(place: Workplace, letter_id: str) -> Explained:
    """Find and explain; raises `SettingsError` when the topic holds no such letter."""
    layout = await place.log.layout()
    found = (await place.reader.find({letter_id}, layout.extents)).get(letter_id)
    if found is None:
        raise SettingsError(
            f"{letter_id!r} is not a letter in {place.log.topic} (any more); `hlf-sync"
            " replay plan` and `hlf-sync pending` tell their ids"
        )
    letter, whole = found
    (judged,) = await place.standings.judge([letter])
    is_poison = whole is not None and whole.kind is LetterKind.UNDECODABLE
    return Explained(
        letter=letter,
        whole=whole,
        judged=judged,
        requests=await _rows(place, sql.REQUESTS, letter_id),
        failure=next(iter(await _rows(place, sql.FAILURE, letter_id)), None),
        record=await describe(place, whole) if whole is not None and is_poison else None,
    )


async def describe(place: Workplace, letter: DeadLetter) -> dict[str, Any]:
    """The record that an undecodable letter points at, without its values."""
    source = letter.source
    record = await asyncio.to_thread(
        fetch, place.kafka, source.topic, source.partition, source.offset
    )
    if record is None:
        return {
            "found": False,
            "why": "it is no longer in the topic (retention), or the topic was created anew",
        }
    value = record.value
    described: dict[str, Any] = {
        "found": True,
        "is_same": (
            None
            if source.value_sha256 is None or value is None
            else sha256(value).hexdigest() == source.value_sha256
        ),
        "key_bytes": None if record.key is None else len(record.key),
        "value_bytes": None if value is None else len(value),
    }
    return described | await _framing(place, record)


async def _framing(place: Workplace, record: Record) -> dict[str, Any]:
    """Magic byte, schema, and what the decoder says of it today."""
    if record.value is None:
        return {"framing": "no value: a tombstone", "schema": None, "now": "a tombstone is ignored"}
    schema_id = schema_id_of(record.value)
    if isinstance(schema_id, Undecodable):
        return {
            "framing": schema_id.detail,
            "schema": None,
            "now": f"still unreadable: {schema_id.detail}",
        }
    schemas = SchemaCache()
    schema = await _schema(place, schemas, schema_id)
    decoded = Decoder(place.settings.organization, schemas).decode(
        record.key, record.value, Position(record.partition, record.offset), record.timestamp_ms
    )
    match decoded:
        case Undecodable(error_code, detail):
            now = f"still unreadable: {error_code}, {detail}"
        case UnknownSchema():
            now = "still unreadable: its schema is missing"
        case Change():
            now = (
                "can be read by now: `hlf-sync force MENTOR` for the mentor below, then close the"
                " letter"
            )
        case _:
            now = "can be read by now, and needs no look at anybody"
    mentor_id = decoded.mentor_id if isinstance(decoded, Change) else None
    return {
        "framing": f"Confluent's, schema id {schema_id}",
        "schema": schema,
        "now": now,
        "mentor_id": mentor_id,
    }


async def _schema(place: Workplace, schemas: SchemaCache, schema_id: int) -> str:
    match await place.registry.fetch(schema_id):
        case SchemaText(text):
            found = schemas.add(schema_id, text)
            if isinstance(found, WriterSchema):
                return (
                    f"known: {found.root.name}"
                    if isinstance(found.root, RecordType)
                    else "known, and no record"
                )
            return f"known and unusable: {found.detail}"
        case Unusable(reason):
            schemas.refuse(schema_id, reason)
            return f"known and unusable: {reason}"
        case Denied():
            return "the registry knows no such id"
        case Unreachable(reason):
            return f"the registry cannot be asked ({reason})"


async def _rows(place: Workplace, statement: str, letter_id: str) -> list[dict[str, Any]]:
    with reaching("PostgreSQL"):
        async with place.pool.connection() as connection:
            return await named_rows(connection, statement, letter_id)
