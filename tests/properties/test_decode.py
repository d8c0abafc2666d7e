"""What holds of the decoder whatever the bytes and whatever the schema. The oracle is fastavro."""

import io
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import fastavro
import pytest
from hlf_sync.core.model import (
    Change,
    Ignored,
    OutOfScope,
    Position,
    Truncated,
    Undecodable,
    UnknownSchema,
)
from hlf_sync.decode.avro import SchemaError, parse
from hlf_sync.decode.decoder import Decoder
from hlf_sync.decode.envelope import ROW_FIELDS, Table
from hlf_sync.decode.fields import ORIGIN, PATHS, Field, encoded, is_readable, number, text
from hlf_sync.decode.pattern import usual_shape
from hlf_sync.decode.schema import SchemaCache, WriterSchema
from hlf_sync.decode.walker import Malformed, Walker
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures.avro import SCHEMATA, Schema, datum_of
from tests.fixtures.bad_records import SCHEMAS
from tests.fixtures.debezium import COLUMNS, MENTOR, RECORD_MS, body, envelope, framed, source

POSITION = Position(0, 1)
IDS = {name: number for number, name in enumerate(SCHEMAS, 1)}
_TABLES = [table.value for table in ROW_FIELDS]


def decoder_of(schemas: Mapping[int, str]) -> Decoder:
    """A decoder that has these schemas and no experience."""
    cache = SchemaCache()
    for schema_id, schema in schemas.items():
        cache.add(schema_id, schema)
    return Decoder("HLF", cache)


_EXPERIENCED = decoder_of({IDS[name]: written.text for name, written in SCHEMAS.items()})
for _table in _TABLES:
    _EXPERIENCED.decode(
        MENTOR.encode(),
        SCHEMAS[_table].value(IDS[_table], envelope(_table, "c")),
        POSITION,
        RECORD_MS,
    )


def read(schema: Any, value: bytes) -> Any:
    """What fastavro makes of the bytes; raises whatever it raises, and when it leaves some over."""
    stream = io.BytesIO(value)
    datum = fastavro.schemaless_reader(
        stream, fastavro.parse_schema(json.loads(json.dumps(schema))), None
    )
    if stream.read(1):
        raise EOFError
    return datum


def wanted(datum: Any) -> list[object]:
    """The fields that the walker should find, taken from fastavro's datum by their paths."""
    return [_at(datum, path, field) for path, field in PATHS.items()]


def _at(datum: Any, path: tuple[str, ...], field: Field) -> object:
    for name in path:
        datum = datum.get(name) if isinstance(datum, dict) else None
    expected = int if field in {Field.COMMITTED_MS, Field.TRANSACTION_ID} else str
    is_symbol = isinstance(datum, str) and datum.startswith(
        "SYMBOL_"
    )  # an enum is not a string, though fastavro makes it one
    return datum if type(datum) is expected and not is_symbol else None


def found(walker: Walker, value: bytes) -> list[object]:
    """The same fields as the walker finds them."""
    fields = walker.walk(value, 0)
    return [_value(fields[field], field) for field in PATHS.values()]


def _value(field: bytes | None, which: Field) -> object:
    if field is None:
        return None
    return number(field) if which in {Field.COMMITTED_MS, Field.TRANSACTION_ID} else text(field)


_words = st.one_of(
    st.sampled_from(["HLF", "OTHER", "", "postgresql", "3.7.0.Final", MENTOR, "app", "mentor"]),
    st.text(max_size=70),
)
_longs = st.integers(-(2**63), 2**63 - 1)


@st.composite
def envelopes(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A table and an envelope of it, anything in its fields."""
    table = draw(st.sampled_from(_TABLES))
    row = st.none() | st.fixed_dictionaries(
        {name: _longs if of == "long" else _words for name, of in COLUMNS[table].items()}
    )
    words = dict.fromkeys(
        ("version", "connector", "name", "db", "schema", "table_name", "snapshot"), _words
    )
    numbers = {"ts_ms": _longs, **dict.fromkeys(("txId", "lsn", "ts_us"), st.none() | _longs)}
    changes: dict[str, Any] = {
        **draw(st.fixed_dictionaries({}, optional=words)),
        **draw(st.fixed_dictionaries({}, optional=numbers)),
    }
    datum = envelope(table, draw(st.sampled_from([*"crudtm", "x", ""])), **changes)
    return table, datum | {"before": draw(row), "after": draw(row)}


@settings(deadline=None)
@given(envelopes())
def test_the_walker_finds_in_an_envelope_what_fastavro_finds(
    drawn: tuple[str, dict[str, Any]],
) -> None:
    """Field by field, at the paths that we read."""
    table, datum = drawn
    schema = SCHEMAS[table].schema
    value = body(schema, datum)
    assert wanted(read(schema, value)) == found(Walker(parse(json.dumps(schema))), value)


@settings(deadline=None)
@given(SCHEMATA, st.data())
def test_the_walker_goes_through_any_schema_to_the_last_byte(
    schema: Schema, data: st.DataObject
) -> None:
    """Every kind of type, in any nesting: what fastavro writes is walked whole, and a byte more or
    less is not.
    """
    datum = data.draw(datum_of(schema))
    value = body(schema, datum)
    walker = Walker(parse(json.dumps(schema)))
    assert wanted(read(schema, value)) == found(walker, value)
    with pytest.raises(Malformed):
        walker.walk(value + b"\0", 0)
    for end in range(len(value)):
        with pytest.raises(Malformed):
            walker.walk(value[:end], 0)


@settings(deadline=None)
@given(SCHEMATA, st.binary(max_size=60))
def test_bytes_that_the_walker_accepts_mean_the_same_to_fastavro(
    schema: Schema, value: bytes
) -> None:
    """Nothing is accepted by accident: where the walker ends at the last byte, so does fastavro."""
    try:
        fields = found(Walker(parse(json.dumps(schema))), value)
    except Malformed:
        return
    assert wanted(read(schema, value)) == fields


_noise = st.binary(max_size=400)
_schema_ids = st.sampled_from([*IDS.values(), 0, 99_999])
_keys = st.none() | st.just(MENTOR.encode()) | st.binary(max_size=50)


@st.composite
def mutilated(draw: st.DrawFn) -> bytes:
    """A good record, a part of it overwritten, cut out or repeated."""
    table, datum = draw(envelopes())
    value = bytearray(SCHEMAS[table].value(IDS[table], datum))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(value)))
        value[start : start + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(value)


_values = st.one_of(st.none(), _noise, st.builds(framed, _schema_ids, _noise), mutilated())


@settings(max_examples=400, deadline=None)
@given(_keys, _values, st.integers(-1, 2**62))
def test_any_bytes_are_a_change_a_skip_or_a_dead_letter(
    key: bytes | None, value: bytes | None, timestamp_ms: int
) -> None:
    """h11's invariant: never another exception; and what has been seen before makes no
    difference.
    """
    decoded = _EXPERIENCED.decode(key, value, POSITION, timestamp_ms)
    assert isinstance(
        decoded, Change | Ignored | OutOfScope | Truncated | Undecodable | UnknownSchema
    )
    naive = decoder_of({IDS[name]: SCHEMAS[name].text for name in [*_TABLES, "heartbeat"]})
    if isinstance(value, bytes) and int.from_bytes(value[1:5], "big") in {
        IDS[name] for name in [*_TABLES, "heartbeat"]
    }:
        assert decoded == naive.decode(key, value, POSITION, timestamp_ms)


@settings(max_examples=300, deadline=None)
@given(_values)
def test_a_change_is_only_made_of_what_fastavro_can_read(value: bytes | None) -> None:
    """Fail closed: bytes that do not fit their schema never make a mentor dirty, nor are they
    skipped.
    """
    decoded = _EXPERIENCED.decode(MENTOR.encode(), value, POSITION, RECORD_MS)
    if value is None or isinstance(decoded, Undecodable | UnknownSchema):
        return
    schema = next(
        SCHEMAS[name].schema
        for name, schema_id in IDS.items()
        if schema_id == int.from_bytes(value[1:5], "big")
    )
    datum = read(schema, value[5:])
    if isinstance(decoded, Change):
        rows = [row for row in (datum["before"], datum["after"]) if row]
        mentors = {
            (row["id"] if datum["source"]["table"] == "mentor" else row["mentor_id"]).lower()
            for row in rows
        }
        assert mentors <= {MENTOR, ""}
        assert datum["op"] in "crud"


@settings(deadline=None)
@given(envelopes(), st.sampled_from(_TABLES))
def test_the_usual_shape_matches_only_what_the_walker_reads_alike(
    drawn: tuple[str, dict[str, Any]], table_name: str
) -> None:
    """A pattern learnt from one record, against another record's bytes, of the same
    schema or not.
    """
    _, datum = drawn
    learnt_from = source(drawn[0])
    origin = {
        Field.VERSION: "version",
        Field.CONNECTOR: "connector",
        Field.PREFIX: "name",
        Field.DATABASE: "db",
        Field.SCHEMA: "schema",
        Field.TABLE: "table",
    }
    assert origin.keys() == set(ORIGIN)
    root = parse(SCHEMAS[drawn[0]].text)
    pattern = usual_shape(
        root,
        {field: encoded(learnt_from[name]) for field, name in origin.items()},
        ROW_FIELDS[Table(drawn[0])],
    )
    assert pattern is not None
    value = (
        body(SCHEMAS[drawn[0]].schema, datum)
        if drawn[0] == table_name
        else b"\0" + body(SCHEMAS[drawn[0]].schema, datum)
    )
    match = pattern.fullmatch(value)
    if match is not None:
        fields = Walker(root).walk(value, 0)
        for name, group in match.groupdict().items():
            assert name == "never" or fields[Field[name]] == group


@settings(max_examples=100, deadline=None)
@given(SCHEMATA, st.data())
def test_the_usual_shape_of_any_schema_agrees_with_the_walker(
    schema: Schema, data: st.DataObject
) -> None:
    """Learnt from one datum, tried on another one of the same schema and on its bytes mutilated."""
    root = parse(json.dumps(schema))
    walker = Walker(root)
    learnt_from = walker.walk(body(schema, data.draw(datum_of(schema))), 0)
    pattern = usual_shape(root, {field: learnt_from[field] for field in ORIGIN}, tuple(Field))
    value = body(schema, data.draw(datum_of(schema)))
    at = data.draw(st.integers(0, len(value)))
    for candidate in (value, value[:at] + data.draw(st.binary(max_size=3)) + value[at + 1 :]):
        match = pattern and pattern.fullmatch(candidate)
        if match:
            fields = walker.walk(candidate, 0)
            assert all(
                fields[Field[name]] == group
                for name, group in match.groupdict().items()
                if name != "never"
            )
            assert all(fields[field] == learnt_from[field] for field in ORIGIN)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=12),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    ["type", "name", "fields", "items", "values", "size", "symbols", "namespace"]
                ),
                inner,
                max_size=5,
            )
        ),
    )
)
def test_any_json_is_a_schema_or_is_refused(document: Any) -> None:
    """A registry can hold anything."""
    with suppress(SchemaError):
        Walker(parse(json.dumps(document)))


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_schema_or_is_refused(schema: str) -> None:
    """Also what is not JSON."""
    added = SchemaCache().add(1, schema)
    assert isinstance(added, WriterSchema) or added.error_code == "unusable_schema"


@settings(deadline=None)
@given(
    st.text()
    | st.builds(
        lambda word, times: word * times, st.text(min_size=1, max_size=4), st.integers(1, 9000)
    )
)
def test_a_field_survives_its_encoding(string: str) -> None:
    """Strings of any length."""
    assert string == text(encoded(string))


@settings(deadline=None)
@given(_longs)
def test_a_number_survives_its_encoding(value: int) -> None:
    """fastavro writes it, we read it."""
    assert value == number(body("long", value))


def test_each_readable_field_has_a_type_that_the_pattern_knows() -> None:
    """Numbers are long or int, everything else a string."""
    assert all(
        is_readable(field, parse('"long"')) != is_readable(field, parse('"string"'))
        for field in Field
    )
