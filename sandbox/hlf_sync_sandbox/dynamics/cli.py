"""`hlf-sync sandbox dynamics …`: look into a running emulator and steer it by hand.

Mounted by the command line of the sandbox as `app`. Every command speaks to the emulator through
`DynamicsControl`, and every command that shows something has `--json`.
"""

import json
import re
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from hlf_sync_sandbox.dynamics import cli_faults
from hlf_sync_sandbox.dynamics.cli_common import (
    DEFAULT_STATE,
    JsonOption,
    StateOption,
    console,
    show,
    steered,
    typed_value,
)

app = typer.Typer(
    no_args_is_help=True,
    help=(
        "Look into the emulated Dynamics 365 and steer it: contacts, faults, limits, outages,"
        " tokens, journal."
    ),
)
app.add_typer(cli_faults.app, name="faults")

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|)")


@app.command()
def status(*, state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """Everything at a glance: counts, limits, latency, switches, outage, faults."""
    with steered(state) as control:
        content = control.status()
    if as_json:
        show(content)
        return
    table = Table("what", "now", box=None)
    for name, value in content.items():
        table.add_row(name, json.dumps(value))
    console.print(table)


@app.command()
def contacts(*, state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """Show whether each contact is shown on the website."""
    with steered(state) as control:
        content = control.contacts()
    if as_json:
        show(content)
        return
    table = Table("contact", "on the website", box=None)
    words = {True: "shown", False: "hidden", None: "never set"}
    for contact_id, visible in sorted(content.items()):
        table.add_row(contact_id, words[visible])
    console.print(table)
    console.print(
        f"{len(content)} contact{'' if len(content) == 1 else 's'}, {sum(visible is True for visible in content.values())} shown"
    )


@app.command("set")
def set_contact(
    contact_id: str,
    visibility: Annotated[
        Literal["visible", "hidden", "unset", "gone"], typer.Argument(help="gone deletes it.")
    ],
    *,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Write one contact behind the API's back, as an administrator might."""
    with steered(state) as control:
        if visibility == "gone":
            control.delete_contacts([contact_id])
        else:
            control.put_contacts(
                {contact_id: {"visible": True, "hidden": False, "unset": None}[visibility]}
            )


@app.command()
def journal(
    *,
    state: StateOption = DEFAULT_STATE,
    tail: Annotated[int, typer.Option(min=1, help="How many of the last requests.")] = 20,
    since: Annotated[
        int | None, typer.Option(min=0, help="Instead: all after this number.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the last requests: what came, what was answered, what was applied."""
    with steered(state) as control:
        entries = control.tail(tail) if since is None else control.journal(since)
    if as_json:
        show(entries)
        return
    table = Table(
        "seq",
        "kind",
        "method",
        "contact",
        "columns",
        "status",
        "code",
        "ms",
        "applied",
        "fault",
        box=None,
    )
    for entry in entries:
        table.add_row(*_cells(entry))
    console.print(table)


@app.command("in-flight")
def in_flight(*, state: StateOption = DEFAULT_STATE) -> None:
    """Show what is under way, as JSON."""
    with steered(state) as control:
        show(control.in_flight())


@app.command()
def latency(
    distribution: Annotated[
        str,
        typer.Argument(
            help=(
                "20ms, 1.5s; uniform:10ms:80ms; lognormal:100ms:0.5 (median, sigma); 0 switches it"
                " off."
            )
        ),
    ],
    *,
    state: StateOption = DEFAULT_STATE,
    endpoint: Annotated[
        Literal["api", "token"], typer.Option(help="Which part of the service.")
    ] = "api",
) -> None:
    """Set how long the service takes."""
    with steered(state) as control:
        control.latency(endpoint=endpoint, **parse_distribution(distribution))


@app.command()
def limits(
    *,
    state: StateOption = DEFAULT_STATE,
    requests: Annotated[int | None, typer.Option(min=1, help="Per window (6000).")] = None,
    execution_s: Annotated[
        float | None, typer.Option(help="Execution time per window (1200).")
    ] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="At once (52).")] = None,
    window_s: Annotated[float | None, typer.Option(help="The window (300).")] = None,
    time_scale: Annotated[
        float | None, typer.Option(help="100: the window of 300 s lasts 3 s.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="No limits at all.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Empty the windows.")] = False,
) -> None:
    """Show or change the protection limits, per application user and web server."""
    named = {
        "requests": requests,
        "execution_s": execution_s,
        "concurrency": concurrency,
        "window_s": window_s,
        "time_scale": time_scale,
    }
    given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    with steered(state) as control:
        if off:
            control.unlimited()
        if given or forget:
            control.set_limits(**given, forget=forget)
        show(control.status()["limits"])


@app.command()
def outage(
    turn: Annotated[Literal["on", "off"], typer.Argument()] = "on",
    *,
    state: StateOption = DEFAULT_STATE,
    seconds: Annotated[float | None, typer.Option(help="End by itself after so long.")] = None,
    mode: Annotated[
        Literal["502", "503", "504", "reset", "hang", "refuse"], typer.Option(help="How it looks.")
    ] = "503",
    token: Annotated[bool, typer.Option("--token", help="The token service is away too.")] = False,
    token_only: Annotated[
        bool, typer.Option("--token-only", help="Only the token service is away.")
    ] = False,
    retry_after: Annotated[str | None, typer.Option(help="Send this Retry-After.")] = None,
) -> None:
    """Take the service away, and bring it back."""
    with steered(state) as control:
        if turn == "off":
            control.end_outage()
        else:
            control.outage(
                seconds,
                mode=mode,
                api=not token_only,
                token=token or token_only,
                retry_after=retry_after,
            )


@app.command()
def switches(
    changes: Annotated[
        list[str] | None, typer.Argument(help="name=on, name=off, name=VALUE …")
    ] = None,
    *,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Show or change what an administrator can have switched: app_user, can_write, column_secured,
    servers …
    """
    given = dict(_switch(change) for change in changes or [])
    with steered(state) as control:
        show(control.switches(**given))


@app.command("revoke-tokens")
def revoke_tokens(*, state: StateOption = DEFAULT_STATE) -> None:
    """Let no token issued so far in any more."""
    with steered(state) as control:
        control.revoke_tokens()


@app.command()
def secret(
    new: Annotated[
        str | None, typer.Argument(help="The only secret that counts from now on.")
    ] = None,
    *,
    state: StateOption = DEFAULT_STATE,
    expired: Annotated[
        bool | None, typer.Option("--expired/--valid", help="Answer AADSTS7000222, or not.")
    ] = None,
) -> None:
    """Rotate the client secret, or let it expire."""
    with steered(state) as control:
        control.set_app(secret=new, secret_expired=expired)


@app.command()
def release(
    name: Annotated[str | None, typer.Argument(help="Without a name: all.")] = None,
    *,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Let held requests go on."""
    with steered(state) as control:
        typer.echo(f"{control.release(name)} released")


@app.command()
def reset(
    *,
    state: StateOption = DEFAULT_STATE,
    contacts_too: Annotated[
        bool, typer.Option("--contacts", help="Delete all contacts too.")
    ] = False,
    journal_too: Annotated[
        bool, typer.Option("--journal", help="Forget the requests in memory too.")
    ] = False,
) -> None:
    """Back to how it started: no faults, no latency, default limits and switches, no outage."""
    with steered(state) as control:
        control.reset(contacts=contacts_too, journal=journal_too)


def parse_distribution(text: str) -> dict[str, Any]:
    """Read a latency as it is typed: `20ms`, `uniform:10ms:80ms`, `lognormal:100ms:0.5`."""
    match text.split(":"):
        case ["uniform", low, high]:
            return {"kind": "uniform", "low_s": _duration_s(low), "high_s": _duration_s(high)}
        case ["lognormal", median, sigma]:
            return {"kind": "lognormal", "median_s": _duration_s(median), "sigma": float(sigma)}
        case [constant]:
            return {"kind": "constant", "seconds": _duration_s(constant)}
        case _:
            raise typer.BadParameter(
                f"{text!r} is not a distribution; for example 20ms, uniform:10ms:80ms,"
                " lognormal:100ms:0.5"
            )


def _duration_s(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a duration; for example 20ms or 1.5s")
    number, unit = found.groups()
    return float(number) / (1000 if unit == "ms" else 1)


def _switch(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r}: write name=on, name=off or name=VALUE")
    return name, {"on": True, "off": False}.get(value, typed_value(value))


def _cells(entry: dict[str, Any]) -> list[str]:
    took = (
        ""
        if entry["ended_mono_ms"] is None
        else f"{entry['ended_mono_ms'] - entry['started_mono_ms']:.1f}"
    )
    columns = "" if entry["columns"] is None else json.dumps(entry["columns"])
    applied = "yes" if entry["applied_ms"] is not None else "no"
    status_text = str(entry["status"] or entry["outcome"])
    cells = [
        entry["seq"],
        entry["kind"],
        entry["method"],
        entry["contact_id"] or entry["path"],
        columns,
        status_text,
    ]
    return [
        str(cell)
        for cell in [*cells, entry["error_code"] or "", took, applied, entry["fault"] or ""]
    ]


# One line for all of them, since they end alike.
for _command in (*app.registered_commands, *cli_faults.app.registered_commands):
    _command.epilog = "Exit codes: 0 done · 2 wrong arguments, or no emulator runs there."
