"""Each room of more than five files says in three lines what comes in, what goes out, and what it
must not do.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_MANY = 5
_LINES = re.compile(r"# .+\n\n- In: .+\.\n- Out: .+\.\n- It must not: .+\.\n")


def _rooms() -> Iterator[Path]:
    for package in (_ROOT / "consumer/hlf_sync", _ROOT / "sandbox/hlf_sync_sandbox"):
        for folder in (package, *(path for path in package.rglob("*") if path.is_dir())):
            modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
            if len(modules) > _MANY:
                yield folder


_ROOMS = sorted(_rooms())


def test_there_are_such_rooms() -> None:
    """So that a change of folders does not empty the test below."""
    assert len(_ROOMS) > 20


@pytest.mark.parametrize("room", _ROOMS, ids=lambda room: str(room.relative_to(_ROOT)))
def test_a_room_of_many_files_says_what_it_is_in_three_lines(room: Path) -> None:
    readme = room / "README.md"
    assert readme.is_file(), "what comes in, what goes out, what it must not do"
    assert _LINES.fullmatch(readme.read_text(encoding="utf-8"))
