"""Schemas that are not schemas, or meant to hurt: refused, or read at a bounded cost."""

import json
import time
from typing import Any

import pytest
from hlf_sync.core.model import Undecodable
from hlf_sync.decode.avro import DEEPEST_NESTING, LARGEST_TEXT, MOST_TYPES, SchemaError, parse
from hlf_sync.decode.fields import Field, encoded
from hlf_sync.decode.pattern import usual_shape
from hlf_sync.decode.schema import SchemaCache
from hlf_sync.decode.walker import Malformed, Walker

from tests.fixtures.debezium import body


def nested(levels: int) -> Any:
    """Arrays in one another."""
    schema: Any = "null"
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def doubled(levels: int, leaf: str) -> Any:
    """Records of two of the former: 2^levels leaves in a few names."""
    schema: Any = {"type": "record", "name": "R0", "fields": [{"name": "x", "type": leaf}]}
    for level in range(1, levels + 1):
        fields = [{"name": "a", "type": schema}, {"name": "b", "type": f"R{level - 1}"}]
        schema = {"type": "record", "name": f"R{level}", "fields": fields}
    return schema


_LIST = {"type": "record", "name": "List", "fields": [{"name": "next", "type": ["null", "List"]}]}
_ENDLESS = {
    "type": "record",
    "name": "R",
    "fields": [{"name": "a", "type": "R"}, {"name": "b", "type": "R"}],
}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "record"},
        {"type": "record", "name": "R"},
        {"type": "record", "name": "", "fields": []},
        {"type": "record", "name": "R", "fields": [{"type": "int"}]},
        {"type": "record", "name": "R", "fields": [{"name": "x"}]},
        {
            "type": "record",
            "name": "R",
            "fields": [{"name": "x", "type": "int"}, {"name": "x", "type": "int"}],
        },
        {
            "type": "record",
            "name": "R",
            "fields": [{"name": "x", "type": {"type": "fixed", "name": "R", "size": 1}}],
        },
        {"type": "record", "name": "int", "fields": []},
        {"type": "fixed", "name": "F", "size": -1},
        {"type": "fixed", "name": "F", "size": True},
        {"type": "fixed", "name": "F", "size": "16"},
        {"type": "enum", "name": "E", "symbols": []},
        {"type": "array"},
        {"type": "map", "values": 5},
        [],
        ["null", ["null", "int"]],
        "Unknown",
        {"type": "unknown"},
        {"type": 5},
        None,
        17,
        nested(DEEPEST_NESTING + 1),
        [{"type": "fixed", "name": f"F{number}", "size": 1} for number in range(MOST_TYPES)],
    ],
    ids=lambda schema: json.dumps(schema)[:50],
)
def test_what_is_no_avro_schema_is_refused(schema: Any) -> None:
    """Its records become dead letters."""
    with pytest.raises(SchemaError):
        parse(json.dumps(schema))
    added = SchemaCache().add(7, json.dumps(schema))
    assert isinstance(added, Undecodable)
    assert (added.error_code, added.schema_id) == ("unusable_schema", 7)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, '"' + "x" * LARGEST_TEXT + '"'],
    ids=["empty", "cut", "deep", "long"],
)
def test_a_text_that_is_no_schema_is_refused(text: str) -> None:
    """However deep or long."""
    with pytest.raises(SchemaError):
        parse(text)


def test_a_reference_may_name_a_type_with_and_without_its_namespace() -> None:
    """Within a namespace the short name means the one in it."""
    inner = {"type": "record", "name": "Value", "fields": [{"name": "x", "type": "string"}]}
    for reference in ("Value", "a.b.Value"):
        schema = {
            "type": "record",
            "name": "a.b.R",
            "fields": [{"name": "x", "type": inner}, {"name": "y", "type": reference}],
        }
        value = body(schema, {"x": {"x": "1"}, "y": {"x": "2"}})
        Walker(parse(json.dumps(schema))).walk(value, 0)


@pytest.mark.parametrize("leaf", ["null", "long"])
def test_a_schema_of_billions_of_leaves_costs_no_more_than_its_bytes(leaf: str) -> None:
    """A null takes no byte, and so no step; anything else runs out of bytes."""
    root = parse(json.dumps(doubled(30, leaf)))
    started_s = time.process_time()
    walker = Walker(root)
    if leaf == "null":
        walker.walk(b"", 0)
    else:
        with pytest.raises(Malformed):
            walker.walk(b"\0" * 1000, 0)
    assert usual_shape(root, {}, ()) is None
    assert time.process_time() - started_s < 0.5


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        pytest.param(_ENDLESS, b"", id="a record in itself"),
        pytest.param(_LIST, b"\x02" * 100_000 + b"\x00", id="a long list"),
        pytest.param(
            {"type": "array", "items": "null"},
            b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            id="2^63 nulls, unended",
        ),
        pytest.param(
            {"type": "array", "items": "long"},
            b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00",
            id="2^63 numbers",
        ),
        pytest.param(
            {"type": "array", "items": "long"}, b"\x01\x01\x00\x00", id="a negative block length"
        ),
        pytest.param(
            {"type": "map", "values": "null"}, b"\x02\x80\x80\x80\x80\x08", id="a key of 1 GB"
        ),
        pytest.param("bytes", b"\x80\x80\x80\x80\x08", id="bytes of 1 GB"),
        pytest.param({"type": "fixed", "name": "F", "size": 1 << 40}, b"\0", id="a fixed of 1 TB"),
        pytest.param(["string", "null"], b"\x01", id="a negative union index"),
        pytest.param("boolean", b"\x02", id="a boolean of 2"),
        pytest.param("long", b"\xff" * 9 + b"\x02", id="a number of 65 bits"),
        pytest.param(
            {"type": "enum", "name": "E", "symbols": ["A"]}, b"\x02", id="an enum out of range"
        ),
    ],
)
def test_bytes_that_are_meant_to_hurt_are_malformed_at_once(schema: Any, value: bytes) -> None:
    """No length or count is believed before the bytes are there."""
    walker = Walker(parse(json.dumps(schema)))
    started_s = time.process_time()
    with pytest.raises(Malformed):
        walker.walk(value, 0)
    assert time.process_time() - started_s < 0.2


def test_a_short_list_that_contains_itself_is_walked() -> None:
    """As are nulls without number, in a block that ends. How long it may be does not depend on who
    calls.
    """
    walker = Walker(parse(json.dumps(_LIST)))
    walker.walk(b"\x02" * 63 + b"\x00", 0)
    with pytest.raises(Malformed):
        walker.walk(b"\x02" * 64 + b"\x00", 0)
    Walker(parse('{"type": "array", "items": "null"}')).walk(
        b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", 0
    )


def test_a_deep_list_behind_many_types_is_malformed_rather_than_a_crash() -> None:
    """Python's own limit is reached before ours where each level has many types."""
    item: Any = ["null", "List"]
    for _ in range(25):
        item = {"type": "array", "items": item}
    schema = {"type": "record", "name": "List", "fields": [{"name": "next", "type": item}]}
    with pytest.raises(Malformed):
        Walker(parse(json.dumps(schema))).walk(b"\x02" * 5000, 0)


def test_a_schema_with_arrays_or_too_many_strings_has_no_usual_shape() -> None:
    """The walker reads it."""
    many = {
        "type": "record",
        "name": "R",
        "fields": [{"name": f"f{number}", "type": "string"} for number in range(200)],
    }
    wide = {
        "type": "record",
        "name": "R",
        "fields": [
            {
                "name": "f",
                "type": [
                    "null",
                    *({"type": "fixed", "name": f"F{n}", "size": n} for n in range(70)),
                ],
            }
        ],
    }
    for schema in (many, wide, nested(1), _LIST, {"type": "fixed", "name": "F", "size": 5000}):
        assert usual_shape(parse(json.dumps(schema)), {}, ()) is None


def test_null_in_the_origin_is_a_part_of_the_usual_shape() -> None:
    """A name where there was null is another origin, and so is null where there was a name."""
    source = {"type": "record", "name": "S", "fields": [{"name": "db", "type": ["null", "string"]}]}
    schema = {"type": "record", "name": "R", "fields": [{"name": "source", "type": source}]}
    root, null, named = (
        parse(json.dumps(schema)),
        body(schema, {"source": {"db": None}}),
        body(schema, {"source": {"db": "mentors"}}),
    )
    for origin, matches in ((None, [True, False]), (encoded("mentors"), [False, True])):
        pattern = usual_shape(root, {Field.DATABASE: origin}, ())
        assert pattern is not None
        assert matches == [pattern.fullmatch(value) is not None for value in (null, named)]


def test_a_wanted_field_of_many_types_has_no_usual_shape() -> None:
    """It could be found in several places."""
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "op", "type": ["null", "string", "long"]}],
    }
    assert usual_shape(parse(json.dumps(schema)), {}, ()) is None
