"""What a new user meets first: each command's help, by either name, with its exit codes."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from hlf_sync.commands import exit_codes
from hlf_sync.commands.app import app
from typer.testing import CliRunner

ROOT = typer.main.get_command(app)


def every_path(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Each command that does something."""
    children = getattr(command, "commands", None)
    if children is None:
        yield path
        return
    for name in children:
        yield from every_path(children[name], (*path, name))


PATHS = sorted(every_path(ROOT))


def said(*arguments: str) -> str:
    """What it prints, without frames and line breaks."""
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "100", "TERM": "dumb"})
    assert result.exit_code == 0, result.output
    return re.sub(r"[\s│╭╮╰╯─]+", " ", result.output)


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_help_tells_the_exit_codes(path: tuple[str, ...]) -> None:
    """Once, beginning with what success is."""
    assert said(*path, "--help").count("Exit codes:") == 1


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_help_tells_what_ctrl_c_ends_with(path: tuple[str, ...]) -> None:
    """Once; `run`, `web` and `top` end in good order by it. Red before: it was in no help."""
    told = len(re.findall(r"\b130\b", said(*path, "--help")))
    assert told == (0 if path in {("run",), ("web",), ("top",)} else 1)


def test_minus_h_helps_everywhere() -> None:
    """At the root, a group and a command."""
    for path in ((), ("connector",), ("connector", "status"), ("sandbox", "dynamics", "faults")):
        assert said(*path, "-h") == said(*path, "--help")


def test_whoever_waits_tells_the_code_of_waiting_in_vain() -> None:
    """3, as contract.md has it."""
    command = typer.main.get_command(app)
    for path in PATHS:
        found = command
        for name in path:
            found = found.commands[name]  # type: ignore[attr-defined]
        if any("--wait" in one.opts for one in found.params):
            assert "3 --wait" in said(*path, "--help").replace("`", ""), path


def test_the_table_names_no_command_that_is_not_there() -> None:
    """One that was renamed would lose its codes in silence."""
    assert set(exit_codes.TABLE) <= {" ".join(path) for path in PATHS}
