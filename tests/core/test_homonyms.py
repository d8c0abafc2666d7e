"""One public class name, one module: who greps for a name finds the one thing that it means."""

import ast
from collections import defaultdict
from pathlib import Path

import hlf_sync
from hlf_sync.library import portal

_PACKAGE = Path(__file__).parents[2] / "consumer/hlf_sync"


def test_a_public_class_name_stands_in_one_module() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted(_PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(_PACKAGE)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_the_public_names_are_listed_once_and_each_can_be_had() -> None:
    """`from hlf_sync import …`; a misspelt name, or a room's, is not one."""
    listed = [
        str(path.relative_to(_PACKAGE))
        for path in sorted(_PACKAGE.rglob("*.py"))
        if '"open_portal",\n' in path.read_text(encoding="utf-8")
    ]
    assert listed == ["library/portal.py"]
    assert {name for name in portal.__all__ if not hasattr(hlf_sync, name)} == set()
    assert not hasattr(hlf_sync, "Portal_")
