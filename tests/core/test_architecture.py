"""ARCHITECTURE's table "Where is …": each file is there, and holds the names that stand beside it."""

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PACKAGE = _ROOT / "consumer/hlf_sync"
_TEXT = (_ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
_ROWS = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", _TEXT.split("## Where is …")[1], re.MULTILINE)[2:]
_WHERE = [place.strip() for row in _ROWS for place in row[1].split(";") if ".py" in place]


def test_the_table_is_read() -> None:
    assert len(_WHERE) > 12


@pytest.mark.parametrize("place", _WHERE)
def test_a_thing_is_where_the_table_says(place: str) -> None:
    *_, file = re.findall(r"`([\w/]+\.py)`", place)
    text = (_PACKAGE / file).read_text(encoding="utf-8")
    names = re.findall(r"`([\w]+)`", place)
    assert [
        name
        for name in names
        if not re.search(rf"^ *(?:async def|def|class)? ?{name}\b", text, re.MULTILINE)
    ] == []
