"""A dead letter ↔ the bytes of its topic: Avro by schemas/dead_letter.avsc in Confluent's framing.
Used by kafka/dead_letter_producer and the replay tool.

Does no I/O beyond reading its own schema; which id the registry gave it is the caller's to know.
"""

import json
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro

from hlf_sync.core.dead_letter import DeadLetter, Source
from hlf_sync.core.model import LetterKind, MentorId, Operation, Trigger
from hlf_sync.errors import DecodeError, SettingsError

_HERE = Path(__file__).resolve().parent
# Inside an installed wheel, then beside the package in a clone.
_FOLDERS = (_HERE.parent / "schemas", _HERE.parents[2] / "schemas")

_HEADER_BYTES = 5


@cache
def schema_text() -> str:
    """The letters' schema as the registry is given it."""
    name = "dead_letter.avsc"
    folder = next((folder for folder in _FOLDERS if (folder / name).is_file()), None)
    if folder is None:
        message = f"schemas/{name} is missing: this installation of hlf-sync is incomplete"
        raise SettingsError(message)
    return (folder / name).read_text(encoding="utf-8")


@cache
def _parsed(text: str) -> Any:
    """Times stay epoch milliseconds: the bytes are the same, and a record's timestamp may lie where
    no datetime reaches.
    """
    return fastavro.parse_schema(json.loads(text, object_hook=_without_logical_type))


def _without_logical_type(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != "logicalType"}


def encode(letter: DeadLetter, schema_id: int) -> bytes:
    """The value of the letter's record."""
    body = BytesIO()
    fastavro.schemaless_writer(body, _parsed(schema_text()), _fields(letter), strict=True)
    return b"\0" + schema_id.to_bytes(_HEADER_BYTES - 1, "big") + body.getvalue()


def schema_id_of(value: bytes) -> int:
    """The id of the schema that a letter was written with. Raises `DecodeError`."""
    if len(value) < _HEADER_BYTES or value[0] != 0:
        raise DecodeError("decode_error", "no letter in Confluent's framing")
    return int.from_bytes(value[1:_HEADER_BYTES], "big")


def decode(value: bytes, writer_schema: str | None = None) -> DeadLetter:
    """The letter in a record's value; `writer_schema` is the JSON of the schema it was written
    with, where that is not ours.

    Raises `DecodeError`, and nothing else, whatever the bytes and the schema.
    """
    schema_id_of(value)
    body = BytesIO(value[_HEADER_BYTES:])
    try:
        ours = _parsed(schema_text())
        fields: Any = fastavro.schemaless_reader(
            body, ours if writer_schema is None else _parsed(writer_schema), ours
        )
        letter = _letter(fields)
    except (
        Exception
    ) as error:  # fastavro raises whatever comes up: EOFError, IndexError, struct.error, its own
        raise DecodeError(
            "decode_error", f"no letter of the expected schema ({type(error).__name__})"
        ) from error
    if body.read(1):
        raise DecodeError("decode_error", "bytes are left over")
    return letter


def _fields(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "mentor_id": letter.mentor_id,
        "kind": letter.kind.value,
        "status": letter.status.value,
        "operation": letter.operation and letter.operation.value,
        "error_code": letter.error_code,
        "http_status": letter.http_status,
        "reason": letter.reason,
        "attempt_count": letter.attempt_count,
        "certification_id": letter.certification_id,
        "triggered_by": letter.triggered_by and letter.triggered_by.value,
        "first_attempt_at": letter.first_attempt_at_ms,
        "created_at": letter.created_at_ms,
        "generation": letter.generation,
        "worker": letter.worker,
        "source": {
            "topic": letter.source.topic,
            "partition": letter.source.partition,
            "offset": letter.source.offset,
            "timestamp_ms": letter.source.timestamp_ms,
            "schema_id": letter.source.schema_id,
            "value_sha256": letter.source.value_sha256,
            "value_bytes": letter.source.value_bytes,
        },
    }


def _letter(fields: dict[str, Any]) -> DeadLetter:
    mentor_id = fields["mentor_id"]
    if "\0" in fields["id"] or (mentor_id and str(UUID(mentor_id)) != mentor_id.lower()):
        message = "no id that PostgreSQL could look up: it would stop the judging of all letters"
        raise ValueError(message)
    return DeadLetter(
        id=fields["id"],
        kind=LetterKind(fields["kind"]),
        error_code=fields["error_code"],
        reason=fields["reason"],
        source=Source(**fields["source"]),
        created_at_ms=fields["created_at"],
        worker=fields["worker"],
        mentor_id=None if fields["mentor_id"] is None else MentorId(fields["mentor_id"]),
        operation=fields["operation"] and Operation(fields["operation"]),
        http_status=fields["http_status"],
        attempt_count=fields["attempt_count"],
        certification_id=fields["certification_id"],
        triggered_by=fields["triggered_by"] and Trigger(fields["triggered_by"]),
        first_attempt_at_ms=fields["first_attempt_at"],
        generation=fields["generation"],
    )
