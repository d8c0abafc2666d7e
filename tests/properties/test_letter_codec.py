"""A dead letter survives its bytes, and any bytes are a letter or a DecodeError."""

import json
from contextlib import suppress
from typing import Any

import fastavro
import pytest
from hlf_sync.core.dead_letter import DeadLetter, Source
from hlf_sync.core.model import LetterKind, MentorId, Operation, Trigger
from hlf_sync.decode import dead_letter_codec as letter_codec
from hlf_sync.decode.dead_letter_codec import decode, encode, schema_id_of, schema_text
from hlf_sync.errors import DecodeError, SettingsError
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures.debezium import body, framed

_words = st.text(max_size=40)
# What PostgreSQL can look up: a letter with another id is refused.
_ids = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
_longs = st.integers(-(2**63), 2**63 - 1)
_ints = st.integers(-(2**31), 2**31 - 1)

_sources = st.builds(
    Source,
    topic=_words,
    partition=_ints,
    offset=_longs,
    timestamp_ms=_longs,
    schema_id=st.none() | _ints,
    value_sha256=st.none() | _words,
    value_bytes=st.none() | _longs,
)
LETTERS = st.builds(
    DeadLetter,
    id=_ids,
    kind=st.sampled_from(LetterKind),
    error_code=_words,
    reason=_words,
    source=_sources,
    created_at_ms=_longs,
    worker=_words,
    mentor_id=st.none() | st.uuids().map(str).map(MentorId),
    operation=st.none() | st.sampled_from(Operation),
    http_status=st.none() | _ints,
    attempt_count=_ints,
    certification_id=st.none() | _words,
    triggered_by=st.none() | st.sampled_from(Trigger),
    first_attempt_at_ms=st.none() | _longs,
    generation=st.none() | _longs,
)


@pytest.mark.requirement("R40")
@settings(deadline=None)
@given(LETTERS, st.integers(1, 2**31 - 1))
def test_a_letter_survives_its_bytes(letter: DeadLetter, schema_id: int) -> None:
    """parse(build(x)) = x, also for timestamps where no datetime reaches."""
    value = encode(letter, schema_id)
    assert letter == decode(value)
    assert schema_id == schema_id_of(value)


@settings(deadline=None)
@given(LETTERS, st.binary(min_size=1, max_size=4), st.data())
def test_a_letter_that_is_cut_or_longer_is_refused(
    letter: DeadLetter, more: bytes, data: st.DataObject
) -> None:
    """Never read as another one."""
    value = encode(letter, 1)
    cut = data.draw(st.integers(0, len(value) - 1))
    for broken in (value[:cut], value + more):
        with pytest.raises(DecodeError):
            decode(broken)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_letter_or_a_decode_error(value: bytes) -> None:
    """The replay tool meets whatever somebody put into the topic."""
    for candidate in (value, framed(1, value)):
        with suppress(DecodeError):
            decode(candidate)


def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(schema_text())
    return schema


def test_the_schema_is_avro_and_documents_each_field() -> None:
    """Letters are read by people and by tools that are not ours."""
    schema = _schema()
    fastavro.parse_schema(json.loads(schema_text()))
    fields = (
        schema["fields"]
        + next(field for field in schema["fields"] if field["name"] == "source")["type"]["fields"]
    )
    assert f"{schema['namespace']}.{schema['name']}" == "hlf.mentor.DeadLetter"
    assert all(field["doc"] for field in fields)
    assert all(field["default"] is None for field in fields if isinstance(field["type"], list))


def test_times_are_timestamps_for_any_avro_reader() -> None:
    """contract.md: times are timestamp-millis."""
    names = {
        field["name"]
        for field in _schema()["fields"]
        if "timestamp-millis" in json.dumps(field["type"]) and field["name"] != "source"
    }
    assert {"first_attempt_at", "created_at"} == names


_LETTER = DeadLetter(
    "id", LetterKind.EXHAUSTED, "server_error", "gave up", Source("t", 1, 2, 3), 4, "w"
)


def test_a_letter_of_a_later_schema_is_read() -> None:
    """The schema grows by optional fields; an older reader drops them."""
    later = _schema()
    later["fields"].append({"name": "colour", "type": ["null", "string"], "default": None})
    value = framed(9, body(later, _datum() | {"colour": "red"}))
    assert decode(value, json.dumps(later)) == _LETTER


def test_a_letter_of_an_earlier_schema_is_read() -> None:
    """What it did not have is null."""
    earlier = _schema()
    earlier["fields"] = [field for field in earlier["fields"] if field["name"] != "generation"]
    assert decode(framed(9, body(earlier, _datum())), json.dumps(earlier)) == _LETTER


@pytest.mark.parametrize(
    "change", [{"kind": "unheard-of"}, {"operation": "dance"}, {"triggered_by": "boredom"}]
)
def test_a_letter_with_a_word_that_is_unknown_is_refused(change: dict[str, str]) -> None:
    """Never mapped to the nearest one."""
    with pytest.raises(DecodeError):
        decode(framed(1, body(_schema(), _datum() | change)))


def test_a_writer_schema_that_is_none_is_refused() -> None:
    """Or that is another record's."""
    for schema in ("{", '"string"'):
        with pytest.raises(DecodeError):
            decode(encode(_LETTER, 1), schema)


def test_an_installation_without_the_schema_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than fail at the first letter with a riddle."""
    monkeypatch.setattr(letter_codec, "_FOLDERS", ())
    with pytest.raises(SettingsError):
        schema_text.__wrapped__()


def _datum() -> dict[str, Any]:
    return {
        "id": "id",
        "kind": "exhausted",
        "status": "pending_manual_replay",
        "error_code": "server_error",
        "reason": "gave up",
        "attempt_count": 0,
        "created_at": 4,
        "worker": "w",
        "source": {"topic": "t", "partition": 1, "offset": 2, "timestamp_ms": 3},
    }
