"""Numbers that others wrote: one place refuses what is none."""

import json
from pathlib import Path

import hlf_sync
import pytest
from hlf_sync.core.numbers import finite, json_of, whole
from hlf_sync.core.source_identity import decode

pytestmark = pytest.mark.requirement("R68")

_ODD = [
    float("nan"), float("inf"), float("-inf"), "NaN", "Infinity", "inf", "1e3", "", " ", "-", "soon", "٣", "1_000", "0x10",
    "9" * 5_000, None, True, False, [], {}, b"7", 10**400, -(10**400), 1e300,
]  # fmt: skip


@pytest.mark.parametrize("value", _ODD, ids=range(len(_ODD)))
def test_what_is_no_finite_number_within_its_bounds_is_none(value: object) -> None:
    """Whatever JSON, a header or a form may hold."""
    assert finite(value, most=1e12) is None
    assert whole(value, most=1 << 64) is None


@pytest.mark.parametrize(
    ("value", "found"), [(0, 0.0), (7, 7.0), (1.5, 1.5), (" 3599 ", 3599.0), ("2.5", 2.5)]
)
def test_a_number_is_taken_as_it_is_written(value: object, found: float) -> None:
    """As number or as text."""
    assert finite(value, most=1e12) == found


def test_bounds_count_and_a_negative_number_needs_to_be_allowed() -> None:
    """Below, above, and a whole one that is written as something else."""
    assert finite(-1, most=1e12) is None
    assert finite("-1", most=1e12) is None
    assert finite(-1, least=-5, most=5) == -1.0
    assert finite(6, most=5) is None
    assert (whole(7, most=7), whole(8, most=7), whole(-1, most=7)) == (7, None, None)
    assert (whole("7", most=7), whole(7.0, most=7)) == (None, None)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", '{"a": [-1e999]}'])
def test_json_that_holds_no_finite_number_is_no_json(text: str) -> None:
    """Python's own reader takes all of these."""
    json.loads(text)
    with pytest.raises(ValueError, match="not a number"):
        json_of(text)


def test_json_is_read_as_it_is() -> None:
    """Also its large numbers."""
    text = '{"a": [1, -2.5, 1e3, 18446744073709551615], "b": null}'
    assert json_of(text) == json.loads(text)


@pytest.mark.parametrize("number", ["Infinity", "1e999", "NaN", "null", "[]"])
def test_an_anchor_with_an_odd_number_counts_as_forgotten(number: str) -> None:
    """An integer made of infinity is an OverflowError, which ended the leader."""
    text = f'{{"system": "1", "timeline": 1, "lsn": {number}, "beat": 1, "token": "t"}}'
    assert decode(text.encode()) is None


def test_nobody_reads_the_json_of_others_past_that_place() -> None:
    """Files of our own, and orjson, which refuses such numbers itself, may."""
    ours = {
        "core/numbers.py", "connect/connector.py", "decode/dead_letter_codec.py", "decode/avro.py", "kafka/topics.py",
        "commands/rehearse.py", "pages/asyncapi.py", "pages/data_contract.py",
    }  # fmt: skip
    package = Path(hlf_sync.__file__).parent
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "json.loads(" in path.read_text(encoding="utf-8").replace("orjson.loads(", "")
    }
    kept = {path for path in found if not path.startswith(("replay/", "break_glass/"))}
    assert kept <= ours, "use core/numbers.json_of"
