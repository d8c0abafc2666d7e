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
_LINT = (
    "import sys; sys.path[:0] = ['consumer', 'sandbox'];"
    "from importlinter.cli import lint_imports_command; lint_imports_command()"
)
# SQL at its beginning. What a person is told to type does not begin with it.
_STATEMENT = re.compile(r"\n?(?:SELECT|WITH|INSERT INTO|UPDATE|DELETE FROM|SET|LOCK)\s[^|]{8}")
_REQUESTS = "consumer/hlf_sync/postgres/statements/sync_request.py"


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


def test_sql_stands_in_the_room_postgres_only() -> None:
    """Other rooms name a statement, and execute it on a connection of postgres'."""
    package = _ROOT / "consumer/hlf_sync"
    found = {
        f"{path.relative_to(package)}: {text.strip()[:40]}"
        for path in _modules()
        if path.relative_to(package).parts[0] != "postgres"
        for text in _texts(path)
        if _STATEMENT.match(text)
    }
    assert found == set()


def test_one_file_says_who_may_ask_for_a_look() -> None:
    """Every INSERT into `sync_request` stands in it, and its table names each statement."""
    insert = re.compile(r"INTO\s+hlf_sync\.sync_request")
    writers = [path for path in _modules() if insert.search(path.read_text(encoding="utf-8"))]
    assert [str(path.relative_to(_ROOT)) for path in writers] == [_REQUESTS]
    module = ast.parse(writers[0].read_text(encoding="utf-8"))
    statements = {
        node.targets[0].id
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    rows = [
        line.split("|")[1] for line in (ast.get_docstring(module) or "").split("\n") if "|" in line
    ]
    assert {name.strip() for row in rows[2:] for name in row.split(",")} == statements


def _texts(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


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
