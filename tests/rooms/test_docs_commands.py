"""What the papers tell people to type exists: every `hlf-sync …` line with its options, every
setting, every link.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from hlf_sync.commands.app import app
from hlf_sync.config.settings import IN_FILES, PREFIX, Settings
from typer.core import TyperArgument, TyperGroup, TyperOption

ROOT = Path(__file__).parents[2]
PAPERS = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        ROOT / "connectors/README.md",
        ROOT / "deploy/monitoring/README.md",
    ]
)
NOT_BUILT = next(
    (
        line
        for line in (ROOT / "docs/limits.md").read_text(encoding="utf-8").split("\n- ")
        if "Not built yet" in line
    ),
    "",
)

COMMAND = typer.main.get_command(app)

_CODE = re.compile(r"^(?: {4,}|\t)(.*)$|(?<!`)`([^`]+)`(?!`)", re.MULTILINE)
# What parts one command from the next in a line of a shell's.
_SHELL = re.compile(r"\s*;\s|\s+&&\s|\s+\|\|\s|\s+&(?:\s|$)")
_FENCE = re.compile(r"^ *```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def commands(text: str) -> Iterator[str]:
    """Each `hlf-sync …` of a paper without its comment: in code blocks one a line, between
    backticks perhaps over two.
    """
    fenced = "\n".join(block.strip("\n") for block in _FENCE.findall(text))
    for plain, inline in [
        *_CODE.findall(_FENCE.sub("", text)),
        *((line, "") for line in fenced.splitlines()),
    ]:
        found = (
            re.search(r"(?:^|[\s/;])(hlf-sync .*)", plain)
            if plain
            else re.match(r"\s*((?:\.venv/bin/)?hlf-sync .*)", " ".join(inline.split()))
        )
        if found and not found[1].rstrip().endswith(("hlf-sync", "…`")):
            for part in _SHELL.split(found[1].split(" # ")[0]):
                if part.strip().startswith("hlf-sync "):
                    yield from alternatives(re.split(r"\s+>\s", part)[0].strip())


def alternatives(line: str) -> list[str]:
    """`up|down` stands for two lines."""
    words = next((word for word in line.split() if "|" in word), None)
    return [line] if words is None else [line.replace(words, word) for word in words.split("|")]


def complaint(line: str) -> str | None:
    """Why the command line would be refused, None when it would not."""
    words = shlex.split(re.sub(r"[\[\]]", "", line))[1:]  # [ ] around what may be left out
    command: Any = COMMAND
    path: list[str] = []
    while (
        isinstance(command, TyperGroup)
        and words
        and not words[0].startswith("-")
        and words[0] != "…"
    ):
        name = words.pop(0)
        path.append(name)
        below = command.commands.get(name)
        if below is None:
            return (
                None if f"`{path[0]}" in NOT_BUILT else f"there is no `hlf-sync {' '.join(path)}`"
            )
        command = below
    return arguments_complaint(command, words) if words else None


def arguments_complaint(command: Any, words: list[str]) -> str | None:
    """Likewise for what follows the command's name. A line that gives nothing only names the
    command.
    """
    options = {
        name: option
        for option in command.params
        if isinstance(option, TyperOption)
        for name in (*option.opts, *option.secondary_opts)
    }
    places = [param for param in command.params if isinstance(param, TyperArgument)]
    given: set[Any] = set()
    count = 0
    while words:
        word, _, value = words.pop(0).partition("=")
        if word in {"--help", "…"}:
            return None
        if not word.startswith("--"):
            count += 1
            continue
        if word not in options:
            return f"no option {word}"
        option = options[word]
        given.add(option)
        if not option.is_flag and not value:
            if not words:
                return f"{word} needs a value"
            words.pop(0)
    if count > len(places) and all(place.nargs == 1 for place in places):
        return f"{count} arguments, {len(places)} wanted"
    missing = [
        param.name
        for param in command.params
        if param.required and param not in given and param not in places[:count]
    ]
    return f"missing: {', '.join(map(str, missing))}" if missing else None


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: str(paper.relative_to(ROOT)))
def test_every_command_line_of_the_papers_would_be_understood(paper: Path) -> None:
    """Commands and their options, as the command line has them; what docs/limits.md calls not built
    may be named.
    """
    wrong = {
        line: why
        for line in commands(paper.read_text(encoding="utf-8"))
        if (why := complaint(line))
    }
    assert not wrong


def test_the_runbook_names_commands_at_all() -> None:
    """So that a change of its form does not empty the test above."""
    assert len(list(commands((ROOT / "docs/runbook.md").read_text(encoding="utf-8")))) > 50
    assert len(list(commands((ROOT / "README.md").read_text(encoding="utf-8")))) >= 4


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("hlf-sync forse MENTOR", "no `hlf-sync forse`"),
        ("hlf-sync force MENTOR --because TEXT", "no option --because"),
        ("hlf-sync force MENTOR --wait", "missing: reason"),
        ("hlf-sync force MENTOR --reason", "--reason needs a value"),
        ("hlf-sync sweep MENTOR", "1 arguments, 0 wanted"),
        ("hlf-sync sandbox sideways", "no `hlf-sync sandbox sideways`"),
    ],
)
def test_a_wrong_line_is_noticed(line: str, words: str) -> None:
    """The test of the test."""
    assert words in (complaint(line) or "")


def test_a_right_line_is_not() -> None:
    """With options in both spellings, a flag, a sub-command, and a bare name."""
    for line in (
        "hlf-sync force MENTOR --reason=TEXT --wait",
        "hlf-sync connector apply --dry-run",
        "hlf-sync force",
        "hlf-sync sandbox up --state DIR",
    ):
        assert complaint(line) is None


@pytest.mark.requirement("R33")
def test_every_setting_that_the_papers_name_exists() -> None:
    """`_NAME` or `HLF_SYNC_NAME`; a name that ends in … stands for several."""
    known = (
        {name.upper() for name in Settings.model_fields}
        | {f"{name.upper()}_FILE" for name in IN_FILES}
        | {"CACHE", "ENV_FILE"}
    )
    for paper in PAPERS:
        for name, more in re.findall(
            rf"(?:`_|\b{PREFIX})([A-Z][A-Z_]*[A-Z])(_?…)?", paper.read_text(encoding="utf-8")
        ):
            is_known = (
                name in known
                or (more and any(one.startswith(name) for one in known))
                or name.startswith(("SANDBOX_", "TEST_", "REAL_", "REAL"))
            )
            assert is_known or name == "PLUGINS", f"{paper.name}: {name}"


def test_every_link_between_the_papers_leads_somewhere() -> None:
    """Files, and headings as GitHub makes anchors of them."""
    for paper in PAPERS:
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", paper.read_text(encoding="utf-8")):
            file, _, anchor = target.partition("#")
            found = (paper.parent / file).resolve() if file else paper
            assert found.exists(), f"{paper.name}: {target}"
            if anchor:
                assert anchor in anchors(found), f"{paper.name}: {target}"


@pytest.mark.requirement("R66")
def test_the_runbook_has_what_operators_need() -> None:
    """Each as a section of its own, with what to look at first, to do, and not to do."""
    text = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    sections = {part.split("\n", 1)[0]: part for part in text.split("\n## ")[1:]}
    assert set(sections) >= {
        "Expected sync lag",
        "Credential rotation",
        "Break-glass",
        "Going live from shadow",
        "Running against a real test tenant",
    }
    for name in (
        "Slot lost",
        "Connector failed",
        "Outage",
        "Flood of dead letters",
        "Stuck mentor",
    ):
        for heading in ("**Look first**", "**Do**", "**Do not**"):
            assert heading in sections[name], name


def anchors(paper: Path) -> set[str]:
    """The anchors of a paper's headings."""
    headings = re.findall(r"^#+ (.*)$", paper.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
