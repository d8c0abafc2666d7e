"""CONTRIBUTING's lists of files: each names what must be touched, and everything named is there."""

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_TEXT = (_ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
_LISTS = dict(part.split("\n", 1) for part in _TEXT.split("## How to add …")[1].split("\n### ")[1:])


def test_there_is_a_list_for_each_thing_that_people_add() -> None:
    assert list(_LISTS) == [
        "A metric",
        "A setting",
        "A halt",
        "A status of mentors",
        "A second organisation",
        "A second column at Dynamics",
        "A sink",
    ]


@pytest.mark.parametrize("name", _LISTS)
def test_a_list_names_files_that_are_there_and_a_test_among_them(name: str) -> None:
    named = re.findall(r"`([\w./-]+\.(?:py|md|yml|toml|sql))`", _LISTS[name])
    assert len(named) >= 4
    assert [path for path in named if not (_ROOT / path).is_file()] == []
    assert [path for path in named if path.startswith("tests/")]
    assert [path for path in named if path.startswith("consumer/hlf_sync/core/")] or name in {
        "A metric",
        "A setting",
        "A second column at Dynamics",
    }


def test_the_inner_loop_is_three_commands() -> None:
    loop = _TEXT.split("three commands:\n\n")[1].split("\n\n")[0]
    assert len(loop.splitlines()) == 3
    targets = (_ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make (\w+)", _TEXT):
        assert f"\n{target}:" in targets
