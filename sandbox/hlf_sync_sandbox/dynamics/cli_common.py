"""What the commands of `hlf-sync sandbox dynamics` share: finding the emulator, printing JSON. Used
by `cli…` only.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from hlf_sync_sandbox.dynamics.control import ControlError, DynamicsControl

console = Console()

StateOption = Annotated[
    Path,
    typer.Option(
        "--state",
        envvar="HLF_SYNC_SANDBOX_STATE",
        help="State directory of the sandbox or the emulator.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
DEFAULT_STATE = Path(".sandbox")


@contextmanager
def steered(state: Path) -> Iterator[DynamicsControl]:
    """Find the emulator; one that is not there, or refuses, ends the command with one line and exit
    code 2.
    """
    try:
        yield DynamicsControl(state)
    except ControlError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


def show(content: object) -> None:
    """Print JSON."""
    typer.echo(json.dumps(content, indent=2))


def typed_value(text: str) -> Any:
    """Read a value as it is typed: JSON, or else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
