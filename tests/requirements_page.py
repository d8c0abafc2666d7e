"""docs/requirements.md, printed from the tests' markers: `python -m tests.requirements_page >
docs/requirements.md`. A test compares the two.

Reads the tests' source without running it; a marker counts on a function or a class, or in
`pytestmark`.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.requirement_rows import ROWS

_TESTS = Path(__file__).parent
_HEAD = """\
# Requirements and the tests that prove them

Printed by `python -m tests.requirements_page` from the tests' markers; do not edit. A row names the tests that prove it, or a part of it; *not
proved* means that no test claims it.

"""


def render() -> str:
    """The page."""
    found = proofs()
    proved = sum(bool(found.get(row)) for rows in ROWS.values() for row, _ in rows)
    total = sum(map(len, ROWS.values()))
    parts = [_HEAD, f"{proved} of {total} rows have a test.\n"]
    for section, rows in ROWS.items():
        parts.append(f"\n## {section}\n\n| row | requirement | proved by |\n|---|---|---|\n")
        parts += [f"| {row} | {text} | {_cell(found.get(row, []))} |\n" for row, text in rows]
    return "".join(parts)


def proofs() -> dict[str, list[tuple[str, str]]]:
    """Row → (file below tests/, test) in the order of files and lines."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path in sorted(_TESTS.rglob("test_*.py")):
        for row, test in _markers(ast.parse(path.read_text(encoding="utf-8"))):
            found[row].append((path.relative_to(_TESTS).as_posix(), test))
    return found


def _markers(module: ast.Module) -> Iterator[tuple[str, str]]:
    for statement in module.body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "pytestmark"
            for target in statement.targets
        ):
            yield from ((row, "the whole file") for row in _rows(statement.value))
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from (
                (row, node.name) for decorator in node.decorator_list for row in _rows(decorator)
            )


def _rows(node: ast.AST) -> Iterator[str]:
    """The rows named by `…mark.requirement("R07", …)` anywhere below the node."""
    for call in ast.walk(node):
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr == "requirement"
        ):
            yield from (
                argument.value
                for argument in call.args
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            )


def _cell(tests: list[tuple[str, str]]) -> str:
    if not tests:
        return "*not proved*"
    by_file: dict[str, list[str]] = defaultdict(list)
    for file, test in tests:
        by_file[file].append(test.removeprefix("test_").replace("_", " "))
    return "<br>".join(
        f"[{file}](../tests/{file}): {'; '.join(dict.fromkeys(names))}"
        for file, names in by_file.items()
    )


if __name__ == "__main__":
    sys.stdout.write(render())
