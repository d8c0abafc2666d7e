"""docs/errors-walk.md names each place that catches everything, and each constructor of a client."""

import ast
from collections.abc import Iterator
from pathlib import Path

import hlf_sync
import pytest

PACKAGE = Path(hlf_sync.__file__).parent
PAGE = (Path(__file__).parents[2] / "docs" / "errors-walk.md").read_text(encoding="utf-8")
CLIENTS = {
    "AdminClient",
    "AppRunner",
    "Asker",
    "AsyncAsker",
    "AsyncClient",
    "AsyncConnectionPool",
    "Client",
    "ClusterReader",
    "ConfidentialClientApplication",
    "Consumer",
    "ManagedIdentityClient",
    "OTLPSpanExporter",
    "PooledTransport",
    "Producer",
    "ask_once",
    "operator_connection",
    "questions",
    "reading_connection",
}
DRIVERS = {"psycopg", "AsyncConnection"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module by its place in the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def is_broad(caught: ast.expr | None) -> bool:
    """Whether it catches whatever comes."""
    return caught is None or ast.unparse(caught) in {"Exception", "BaseException"}


@pytest.mark.requirement("R28")
def test_each_place_that_catches_everything_says_who_reads_of_it() -> None:
    """A broad catch hides bugs: it stands in the table, with what follows."""
    found = {
        place
        for place, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and is_broad(node.type)
    }
    assert {place for place in found if f"| `{place}` " not in PAGE} == set()


@pytest.mark.requirement("R28")
def test_each_constructor_of_a_client_stands_in_the_table() -> None:
    """With what it refuses, what the client dies of, and how it comes back."""
    table = PAGE.partition("## Every client")[2]
    made = {
        place
        for place, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _is_client(node.func)
    }
    assert {place for place in made if f"`{place}`" not in table} == set()
    assert {place for place in made if place.startswith("kafka/")}


def _is_client(called: ast.expr) -> bool:
    if isinstance(called, ast.Name):
        return called.id in CLIENTS
    if not isinstance(called, ast.Attribute):
        return False
    owner = called.value.id if isinstance(called.value, ast.Name) else ""
    return called.attr in CLIENTS or (called.attr == "connect" and owner in DRIVERS)
