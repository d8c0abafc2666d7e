"""What Debezium 3.7 really sent (tests/fixtures/captured.json) decodes to the changes that were
made, quickly, and held nobody's data.
"""

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hlf_sync.core.model import (
    Change,
    Decoded,
    Ignored,
    IgnoredReason,
    OutOfScope,
    Position,
    Trigger,
    Truncated,
)
from hlf_sync.decode import decoder as decoding
from hlf_sync.decode.decoder import Decoder
from hlf_sync.decode.schema import SchemaCache, WriterSchema
from hlf_sync.decode.walker import Walker

from tests.fixtures import debezium
from tests.fixtures.capture_records import CANARY

_CAPTURED: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "fixtures" / "captured.json").read_text(encoding="utf-8")
)
_RECORDS = _CAPTURED["records"]
POSITION = Position(0, 1)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _decoder() -> Decoder:
    cache = SchemaCache()
    for schema_id, text in _CAPTURED["schemas"].items():
        cache.add(int(schema_id), text)
    return Decoder("HLF", cache, prefix="hlf", database="mentors")


def _decode(decoder: Decoder) -> list[Decoded]:
    return [
        decoder.decode(_bytes(one["key"]), _bytes(one["value"]), POSITION, one["timestamp_ms"])
        for one in _RECORDS
    ]


def _mentor(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def _kind(decoded: Decoded) -> str:
    match decoded:
        case Change():
            return decoded.trigger
        case Ignored(reason):
            return reason
        case Truncated(table):
            return f"truncate {table}"
        case _:
            return type(decoded).__name__


@pytest.mark.requirement("R02")
@pytest.mark.requirement("R09")
def test_each_captured_record_is_the_change_that_was_made() -> None:
    """By number and kind: see the statements in capture_records.py."""
    assert Counter(map(_kind, _decode(_decoder()))) == {
        Trigger.STATUS_CHANGE: 12,
        Trigger.CERTIFICATION_CHANGE: 7,
        Trigger.RECONCILIATION: 3,
        Trigger.EXPIRY: 1,
        Trigger.REPLAY: 1,
        IgnoredReason.REQUEST_PRUNED: 1,
        IgnoredReason.SIGNAL: 5,
        IgnoredReason.HEARTBEAT: 1,
        "truncate app.certification": 1,
        "truncate hlf_sync.sync_request": 1,
        OutOfScope.__name__: 2,
    }


def test_a_snapshot_has_no_transaction_to_wait_for_and_a_streamed_change_has_one() -> None:
    """Rows that a snapshot read are visible already; its own transaction would be waited for until
    the snapshot ends.
    """
    changes = [decoded for decoded in _decode(_decoder()) if isinstance(decoded, Change)]
    snapshot = {
        change.transaction_id is None for change in changes if change.trigger is Trigger.EXPIRY
    }
    streamed = {
        change.transaction_id is None for change in changes if change.trigger is Trigger.REPLAY
    }
    assert (snapshot, streamed) == ({True}, {False})


def test_a_certification_that_moves_makes_both_mentors_dirty() -> None:
    """It comes as a delete under the old key and a create under the new one."""
    moved = [
        decoded
        for record, decoded in zip(_RECORDS, _decode(_decoder()), strict=True)
        if record["headers"]
        and isinstance(decoded, Change)
        and decoded.trigger is Trigger.CERTIFICATION_CHANGE
    ]
    assert {_mentor(1), _mentor(2)} == {change.mentor_id for change in moved}
    assert {"00000000-0000-4000-9000-000000000002"} == {change.certification_id for change in moved}


def test_a_letter_that_is_replayed_is_named_by_its_request() -> None:
    """So that the outcome can be told to whoever replays it."""
    assert {"hlf.mentor.changes-3-17"} == {
        one.dead_letter_id for one in _decode(_decoder()) if isinstance(one, Change)
    } - {None}


def test_after_the_first_record_of_each_table_nothing_captured_is_walked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The usual shape is usual: else decoding would cost ten times as much, and nothing would
    fail.
    """
    decoder = _decoder()
    before = _decode(decoder)
    walked: list[bytes] = []
    walk = Walker.walk

    def counting(self: Walker, value: bytes, start: int) -> Any:
        walked.append(value)
        return walk(self, value, start)

    monkeypatch.setattr(Walker, "walk", counting)
    assert before == _decode(decoder)
    rows = [
        decoded
        for decoded in before
        if isinstance(decoded, Change | OutOfScope)
        or decoded == Ignored(IgnoredReason.REQUEST_PRUNED)
    ]
    assert len(_RECORDS) == len(rows) + len(walked)
    assert min(shape.changes_left for shape in decoder._shapes.values()) == decoding._MOST_SHAPES


@pytest.mark.requirement("R45")
def test_no_personal_column_was_captured() -> None:
    """Neither a value nor a column."""
    values = b"".join(_bytes(record["value"]) or b"" for record in _RECORDS)
    assert CANARY.encode() not in values
    cache = SchemaCache()
    for schema_id, text in _CAPTURED["schemas"].items():
        schema = cache.add(int(schema_id), text)
        assert isinstance(schema, WriterSchema)
        assert frozenset() == schema.unexpected_columns


@pytest.mark.parametrize(
    "table",
    [
        "app.mentor",
        "app.certification",
        "hlf_sync.contact_mapping",
        "hlf_sync.sync_request",
        "hlf_sync.dbz_signal",
    ],
)
def test_the_schemas_that_tests_make_up_are_the_real_ones(table: str) -> None:
    """Field by field, but for how a name is written; so that the corpus of bad records stays close
    to life.
    """
    real = next(
        schema
        for schema in map(json.loads, _CAPTURED["schemas"].values())
        if schema["namespace"] == f"hlf.{table}"
    )
    assert _plain(real) == _plain(debezium.envelope_schema(table))


def _plain(schema: Any) -> Any:
    """Without namespaces, defaults and attributes that do not change the bytes."""
    if isinstance(schema, list):
        return [_plain(branch) for branch in schema]
    if isinstance(schema, str):
        return schema.rpartition(".")[2]
    kept = {name: schema[name] for name in ("type", "name") if name in schema}
    kept["type"] = _plain(kept["type"])
    if "fields" in schema:
        kept["fields"] = [_plain(field) for field in schema["fields"]]
    return kept["type"] if kept.keys() == {"type"} else kept
