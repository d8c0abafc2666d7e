"""Each library has one owner, and the floors hold: pyproject.toml's import contracts, and that they
would notice.
"""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[2]
_CONTRACTS: list[dict[str, Any]] = tomllib.loads(
    (_ROOT / "pyproject.toml").read_text(encoding="utf-8")
)["tool"]["importlinter"]["contracts"]
_OWNED = [
    (library, contract["name"])
    for contract in _CONTRACTS
    if contract["type"] == "protected"
    for library in contract["protected_modules"]
]
# Libraries of the whole house: values, logs, JSON and what people see.
_EVERYWHERE = {"multidict", "orjson", "pydantic", "pydantic_core", "rich", "structlog"}
# Where SQL still stands outside the room postgres: each moves there when its room is next opened.
_SQL_ELSEWHERE = {
    "doctor": "questions to the catalogue that `doctor` alone asks, through postgres' connection",
    "operate.py": "one statement of an operator each",
    "reconcile": "long reads with a cursor of the server's",
    "replay": "the lock, the requests and the closings on one connection",
    "watch": "counts that only the leader asks for",
    "why": "one mentor's history in one snapshot",
    "worker": "the leader's lock and its errands",
}
_LINT = (
    "import sys; sys.path[:0] = ['consumer', 'sandbox'];"
    "from importlinter.cli import lint_imports_command; lint_imports_command()"
)
_STATEMENT = re.compile(r"\b(?:FROM|INTO|UPDATE|JOIN)\s+hlf_sync\.[a-z_]+")


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of a copy of the house in which one room imports every library that
    it must not, and one a floor above its own.
    """
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(_ROOT / "consumer", folder / "consumer")
    shutil.copytree(_ROOT / "sandbox", folder / "sandbox")
    shutil.copy(_ROOT / "pyproject.toml", folder)
    planted = "".join(f"import {library}\n" for library, _ in _OWNED)
    room = folder / "consumer/hlf_sync/pending"
    (room / "planted.py").write_text(f"{planted}import hlf_sync.commands.app\n", encoding="utf-8")
    (folder / "consumer/hlf_sync/utils").mkdir()
    (folder / "consumer/hlf_sync/utils/__init__.py").write_text("", encoding="utf-8")
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            _LINT,
            "--no-cache",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert found.returncode == 1, found.stdout + found.stderr
    return found.stdout


@pytest.mark.parametrize(("library", "contract"), _OWNED)
def test_a_second_room_that_imports_a_library_breaks_its_contract(
    broken: str, library: str, contract: str
) -> None:
    """Planted in `pending`, which owns none."""
    assert f"{contract} BROKEN" in broken
    assert re.search(rf"hlf_sync\.pending\.planted.*{re.escape(library)}", broken)


def test_an_import_of_a_higher_floor_and_a_room_without_a_floor_break_the_layers(
    broken: str,
) -> None:
    """A `utils` room does not pass."""
    assert "the floors of the house BROKEN" in broken
    assert "hlf_sync.pending is not allowed to import hlf_sync.commands" in broken
    assert "hlf_sync.utils" in broken


def test_each_library_of_the_product_has_an_owner_or_belongs_to_everybody() -> None:
    """A new dependency is given its room here."""
    owned = {library for library, _ in _OWNED}
    imported = {name for path in _modules() for name in _third_party(path)}
    assert imported - owned == _EVERYWHERE


def test_sql_of_our_tables_stands_in_postgres_or_in_a_room_with_a_reason() -> None:
    """The list of reasons only becomes shorter."""
    package = _ROOT / "consumer/hlf_sync"
    rooms = {
        path.relative_to(package).parts[0]
        for path in _modules()
        if _STATEMENT.search(path.read_text(encoding="utf-8"))
    }
    assert rooms - {"postgres"} == set(_SQL_ELSEWHERE)


def _modules() -> Iterator[Path]:
    yield from (_ROOT / "consumer/hlf_sync").rglob("*.py")


def _third_party(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
        for name in (one.partition(".")[0] for one in names):
            if name not in sys.stdlib_module_names and name != "hlf_sync":
                yield name
