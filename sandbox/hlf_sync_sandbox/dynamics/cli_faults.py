"""`hlf-sync sandbox dynamics faults …`: script what goes wrong, request by request. Mounted by
`cli`.
"""

import json
from typing import Annotated, Any

import typer
from rich.table import Table

from hlf_sync_sandbox.dynamics.cli_common import (
    DEFAULT_STATE,
    StateOption,
    console,
    show,
    steered,
    typed_value,
)
from hlf_sync_sandbox.dynamics.presets import PRESETS

app = typer.Typer(no_args_is_help=True, help="Script what goes wrong, request by request.")


@app.command("add")
def add_fault(
    preset: Annotated[str, typer.Argument(help="A preset; `faults presets` lists them.")],
    *,
    state: StateOption = DEFAULT_STATE,
    contact: Annotated[str | None, typer.Option(help="Only requests for this contact.")] = None,
    nth: Annotated[int | None, typer.Option(min=1, help="Only the n-th that matches.")] = None,
    times: Annotated[int, typer.Option(min=1, help="How often.")] = 1,
    forever: Annotated[bool, typer.Option("--forever", help="Until cleared.")] = False,
    probability: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    seed: Annotated[int, typer.Option(help="Of the probability.")] = 0,
    field: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any field of a fault: status=503, retry_after=17 …"),
    ] = None,
) -> None:
    """Arm one fault."""
    named = {"contact": contact, "nth": nth, "probability": probability}
    fields: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    fields |= {"times": None if forever else times, "seed": seed}
    fields |= {
        name: typed_value(text) for name, _, text in (one.partition("=") for one in field or [])
    }
    with steered(state) as control:
        typer.echo(f"fault {control.fault(preset, **fields)} armed")


@app.command("script")
def script(
    file: Annotated[
        typer.FileText, typer.Argument(help="JSON list of faults; - for standard input.")
    ],
    *,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Arm a list of faults: presets by name, or objects with the fields of a fault (and perhaps
    `preset`).
    """
    try:
        faults = json.load(file)
    except json.JSONDecodeError as error:
        typer.echo(f"not valid JSON: {error}", err=True)
        raise typer.Exit(2) from error
    if not isinstance(faults, list):
        typer.echo("the script must be a JSON list of faults", err=True)
        raise typer.Exit(2)
    with steered(state) as control:
        typer.echo(f"{len(control.script(faults))} faults armed")


@app.command("list")
def list_faults(*, state: StateOption = DEFAULT_STATE) -> None:
    """Show the script, with what each fault has seen and struck, as JSON."""
    with steered(state) as control:
        show(control.faults())


@app.command("clear")
def clear_faults(
    number: Annotated[int | None, typer.Argument(help="Without: all.")] = None,
    *,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Disarm one fault, or all."""
    with steered(state) as control:
        control.clear_faults(number)


@app.command("presets")
def presets() -> None:
    """List the faults that have a name."""
    table = Table("name", "what it is", box=None)
    for name, fields in sorted(PRESETS.items()):
        table.add_row(name, json.dumps(fields))
    console.print(table)
