"""Options that every command shares, and the way from them to the settings."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from hlf_sync.commands.terminal import Terminal, echo
from hlf_sync.config.loading import load, unknown
from hlf_sync.config.settings import Settings
from hlf_sync.core.ending import Exit
from hlf_sync.core.plain_text import plain
from hlf_sync.errors import SettingsError

EnvFile = Annotated[
    Path | None,
    typer.Option(
        "--env-file",
        metavar="FILE",
        help=(
            "Settings as NAME='value' lines; the environment wins. Default: .env when there is one."
        ),
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def _says_something(reason: str) -> str:
    if not reason.strip():
        raise SettingsError("--reason says nothing: why? It is kept with the request")
    return reason


Reason = Annotated[
    str, typer.Option("--reason", help="Why; kept with the request.", callback=_says_something)
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

_error = Terminal(stderr=True, soft_wrap=True)


def settings_from(env_file: Path | None) -> Settings:
    """Load the settings, and say which variables look like one and are not. What logs says that
    itself, as `log_unknown`.
    """
    settings = load(env_file)
    for line in unknown(env_file):
        _error.print(said(line, "yellow"))
    return settings


def log_unknown(env_file: Path | None) -> None:
    """The same as a line of the log, once that is set up."""
    import structlog  # noqa: PLC0415 - only for what logs

    for line in unknown(env_file):
        structlog.get_logger().warning("not_a_setting", detail=line)


def said(line: str, style: str) -> Text:
    """A line of ours for a terminal."""
    return Text.assemble(("hlf-sync:", style), " ", plain(line, keeps_lines=True))


def has_terminal() -> bool:
    """Whether somebody can be asked. Python has no stdin at all where it was closed."""
    return sys.stdin is not None and sys.stdin.isatty()


def must_agree(question: str) -> None:
    """Ask, and end with exit code 2 unless the answer is yes. Raises `SettingsError` where there is
    nobody to ask.
    """
    if not has_terminal():
        raise SettingsError("there is no terminal to ask at: --yes is needed")
    try:
        is_wanted = typer.confirm(question, err=True)
    except typer.Abort:
        raise KeyboardInterrupt from None
    if not is_wanted:
        echo("not agreed to: nothing was done", is_error=True)
        raise typer.Exit(Exit.REFUSED)
