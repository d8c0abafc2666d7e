"""Every path, document and section that a docstring, a comment or a paper names exists."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_HOUSES = ("consumer/hlf_sync", "sandbox/hlf_sync_sandbox")
_CODE = ("consumer", "sandbox", "tests", "bench")
_PAPERS = (
    *("*.md", "docs/**/*.md", "connectors/*.md", "consumer/**/*.md", "sandbox/**/*.md"),
    *("tests/*.md", "bench/*.md", "deploy/**/*.md", "findings/*.md"),
)
_TYPES = "py|md|sql|json|toml|yml|yaml|sh|avsc|txt|lock|proto|ftl|html|css|js|env"
# Where what is named may lie, beside the folder of the file that names it.
_PLACES = (
    *("", *_HOUSES, "consumer", "sandbox", "docs", "tests", "connectors", "deploy"),
    "deploy/kubernetes",
)

_PATH = re.compile(
    rf"(?<![\w/.:{{<$*-])(?:\.\./)*[\w][\w.-]*(?:/[\w.-]+)*\.(?:{_TYPES})\b(?![\w/*(])"
)
_MODULE = re.compile(r"(?<![\w/.:-])([a-z_]+)/([a-z_]\w+)(?![\w/*-]|\.[a-z])")
_SECTION = re.compile(r"\b(design|contract|rules|house|ARCHITECTURE)(?:\.md)?,? §\s?(\d+)")
# Files that a program makes, that belong to somebody else, or that stand for any.
_NOT_OURS = re.compile(
    r"sandbox\.env|pids\.json|\.env|journal\.jsonl|FILE|plan|roster|example|jwks|openapi\.json|"
    r"postgresql\.conf|pg_hba|server\.properties|requests?\.txt|index\.html|base\.txt|"
    r"settings\.json|users\.txt|package\.json|dynamics\.json|processes\.json|targets\.json|"
    r"dashboard\.json|NAME\.sh|test_X\.py"
)


def _comments(path: Path) -> str:
    """The docstrings and comments of a module."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return "\n".join(
        token.string
        for token in tokens
        if token.type == tokenize.COMMENT
        or (token.type == tokenize.STRING and token.string.startswith(('"""', 'r"""')))
    )


def _files() -> Iterator[Path]:
    for folder in _CODE:
        yield from (_ROOT / folder).rglob("*.py")
    for pattern in _PAPERS:
        yield from _ROOT.glob(pattern)


def _exists(name: str, near: Path) -> bool:
    places = [near.parent, *(_ROOT / place for place in _PLACES)]
    return any((place / name).exists() for place in places) or any(_named(name))


def _named(name: str) -> Iterator[Path]:
    """Files of ours with this bare name, wherever: `test_worker.py`, `0031-database-identity.md`."""
    if "/" not in name:
        for folder in (
            *_CODE,
            "docs",
            "connectors",
            "deploy",
            "schemas",
            "requirements",
            "findings",
        ):
            yield from (_ROOT / folder).rglob(name)


_ROOMS = {
    path.name for house in _HOUSES for path in (_ROOT / house).rglob("*") if path.is_dir()
} | {"consumer", "deliver", "record", "source", "setup", "facts", "process"}


def missing(text: str, near: Path) -> list[str]:
    """What the text names and is not there."""
    found = [
        name
        for name in _PATH.findall(text)
        if not _NOT_OURS.search(name) and not _exists(name, near)
    ]
    found += [
        f"{room}/{name}"
        for room, name in _MODULE.findall(text)
        if room in _ROOMS
        and not _exists(f"{room}/{name}", near)
        and not _exists(f"{room}/{name}.py", near)
    ]
    for paper, section in _SECTION.findall(text):
        place = _ROOT / ("ARCHITECTURE.md" if paper == "ARCHITECTURE" else f"docs/{paper}.md")
        if not place.is_file() or not re.search(
            rf"^#+ {section}\.", place.read_text(encoding="utf-8"), re.MULTILINE
        ):
            found.append(f"{paper} §{section}")
    return found


_FILES = sorted(set(_files()))


@pytest.mark.parametrize("folder", sorted({path.relative_to(_ROOT).parts[0] for path in _FILES}))
def test_what_is_named_exists(folder: str) -> None:
    """Paths with or without their folder, modules as `room/module`, sections as `design §5`."""
    wrong = {
        str(path.relative_to(_ROOT)): names
        for path in _FILES
        if path.relative_to(_ROOT).parts[0] == folder and (names := missing(_comments(path), path))
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("see docs/adr/0005-consumer.md", ["docs/adr/0005-consumer.md"]),
        ("the table in (`core/decision.py`)", ["core/decision.py"]),
        ("postgres/facts reads it, consumer/secret_file too", ["consumer/secret_file"]),
        ("design §5 and design §55", ["design §55"]),
        ("read reference/dynamics-web-api.md", ["reference/dynamics-web-api.md"]),
        ("core/decide.py, docs/delivery.md, 1/2, and/or, `DIR/sandbox.env`", []),
    ],
)
def test_what_is_missing_is_noticed(text: str, names: list[str]) -> None:
    """The test of the test."""
    assert missing(text, _ROOT / "README.md") == names
