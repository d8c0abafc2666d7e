"""`hlf-sync sandbox seed` and `hlf-sync sandbox app …`: thin. Mounted by `cli`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console
from rich.table import Table

from hlf_sync_sandbox.dynamics.control import ControlError, DynamicsControl
from hlf_sync_sandbox.errors import ArgumentError, PartError
from hlf_sync_sandbox.explained import explained
from hlf_sync_sandbox.options import DEFAULT_STATE, AsJson, State
from hlf_sync_sandbox.play import Mentor, Play
from hlf_sync_sandbox.stack import Sandbox

_EXIT = "Exit codes: 0 done · 2 no such mentor, or no sandbox there · 4 a part does not answer."
_DAY_S = 86_400.0

app = typer.Typer(
    no_args_is_help=True,
    help=(
        "Play the application: change its mentors as it would, and watch what becomes of them.\n\n"
        "MENTOR is a number of `sandbox app list`, or an id."
    ),
)
Who = Annotated[str, typer.Argument(metavar="MENTOR", help="A number of `list`, or an id.")]


def seed(
    *,
    count: Annotated[int, typer.Argument(metavar="N", min=1, max=100_000, help="How many.")] = 20,
    state: State = DEFAULT_STATE,
    as_json: AsJson = False,
) -> None:
    """Make N mentors of HLF: active, certified for a year, each with a contact and its mapping.

    A worker then shows all of them.

    Exit codes: 0 done · 2 no sandbox there · 4 a part does not answer.
    """
    with _played(state) as play:
        made = play.add(count)
    _answer({"mentor_ids": made}, f"{_some(len(made))} more: `sandbox app list`", as_json=as_json)


@app.command("list", epilog=_EXIT)
def show_all(
    *,
    state: State = DEFAULT_STATE,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 40,
    as_json: AsJson = False,
) -> None:
    """Show every mentor: its number, id, status, certificate, and what Dynamics shows."""
    with _played(state) as play:
        everybody = play.mentors()
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in everybody[:limit]], indent=2))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("no", "mentor", "status", "certificate", "Dynamics"):
        table.add_column(title, no_wrap=True)
    for one in everybody[:limit]:
        table.add_row(
            str(one.number or "–"), one.mentor_id, _status(one), _certificate(one), _shown(one)
        )
    Console(highlight=False).print(table)
    if len(everybody) > limit:
        typer.echo(f"… and {len(everybody) - limit} more (--limit)")
    if not everybody:
        typer.echo("nobody yet: `hlf-sync sandbox seed 20`")


@app.command(epilog=_EXIT)
def add(
    *,
    unmapped: Annotated[
        bool, typer.Option("--unmapped", help="Without a mapping: a dead letter, until `map`.")
    ] = False,
    organization: Annotated[str, typer.Option(metavar="CODE", help="Whose mentor.")] = "HLF",
    state: State = DEFAULT_STATE,
    as_json: AsJson = False,
) -> None:
    """A new mentor, active and certified."""
    with _played(state) as play:
        (made,) = play.add(1, organization=organization, is_mapped=not unmapped)
    _answer({"mentor_id": made}, f"{made} is there", as_json=as_json)


@app.command("map", epilog=_EXIT)
def map_(*, mentor: Who, state: State = DEFAULT_STATE, as_json: AsJson = False) -> None:
    """Give a mentor without a mapping a contact of its own."""
    with _played(state) as play:
        mentor_id = play.find(mentor)
        play.map(mentor_id)
    _answer({"mentor_id": mentor_id}, f"{mentor_id} is mapped to a contact", as_json=as_json)


@app.command(epilog=_EXIT)
def pause(*, mentor: Who, state: State = DEFAULT_STATE, as_json: AsJson = False) -> None:
    """The mentor pauses: status `paused`. Must leave the listing."""
    _act(state, "pause", mentor, "is paused", as_json=as_json)


@app.command(epilog=_EXIT)
def reinstate(*, mentor: Who, state: State = DEFAULT_STATE, as_json: AsJson = False) -> None:
    """The mentor returns: status `reinstated`. Comes back with a valid certificate."""
    _act(state, "reinstate", mentor, "is reinstated", as_json=as_json)


@app.command(epilog=_EXIT)
def renew(*, mentor: Who, state: State = DEFAULT_STATE, as_json: AsJson = False) -> None:
    """A new certificate for a year."""
    _act(state, "renew", mentor, "has a new certificate", as_json=as_json)


@app.command(epilog=_EXIT)
def lapse(
    *,
    mentor: Who,
    seconds: Annotated[
        float,
        typer.Option("--in", metavar="SECONDS", min=0, help="When: then no row changes at all."),
    ] = 0.0,
    state: State = DEFAULT_STATE,
    as_json: AsJson = False,
) -> None:
    """The mentor's certificates end, now or soon. Must leave the listing."""
    _act(state, "lapse", mentor, "lapses", as_json=as_json, seconds=seconds)


@app.command(epilog=_EXIT)
def revoke(*, mentor: Who, state: State = DEFAULT_STATE, as_json: AsJson = False) -> None:
    """The mentor's certificates are revoked."""
    _act(state, "revoke", mentor, "has no certificate that counts", as_json=as_json)


@app.command(epilog=_EXIT)
def delete(*, mentor: Who, state: State = DEFAULT_STATE, as_json: AsJson = False) -> None:
    """The mentor's row is deleted, and its certificates with it."""
    _act(state, "delete", mentor, "is gone", as_json=as_json)


@app.command(epilog=_EXIT)
def move(
    *,
    mentor: Who,
    organization: Annotated[str, typer.Option(metavar="CODE", help="Where to.")] = "OTHER",
    state: State = DEFAULT_STATE,
    as_json: AsJson = False,
) -> None:
    """The mentor leaves HLF for another organisation."""
    said = f"is {organization}'s now"
    _act(state, "move", mentor, said, as_json=as_json, organization=organization)


def _act(state: Path, act: str, mentor: str, said: str, *, as_json: bool, **values: Any) -> None:
    with _played(state) as play:
        mentor_id = play.find(mentor)
        play.do(act, mentor_id, **values)
    sentence = f"{mentor_id} {said}; `hlf-sync why {mentor_id}` tells what becomes of it"
    _answer({"mentor_id": mentor_id, "act": act}, sentence, as_json=as_json)


@contextmanager
def _played(state: Path) -> Iterator[Play]:
    """The sandbox of this folder, or a sentence that says what to start."""
    with explained(state, "stopped"):
        dsn = Sandbox(state).env.get("SANDBOX_POSTGRES_ADMIN_DSN")
        if dsn is None:
            raise ArgumentError(
                f"there is no sandbox in {state}", "`hlf-sync sandbox up` starts one"
            )
        try:
            with Play(dsn, DynamicsControl(state)) as play:
                yield play
        except psycopg.OperationalError as error:
            raise PartError("postgres", "does not answer", "start it with `sandbox up`") from error
        except ControlError as error:
            raise PartError("dynamics", "does not answer", "start it with `sandbox up`") from error


def _answer(content: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(content, indent=2) if as_json else sentence)


def _some(count: int) -> str:
    return f"{count:,} mentor{'' if count == 1 else 's'}"


def _status(one: Mentor) -> str:
    return one.status if one.organization == "HLF" else f"{one.status} ({one.organization})"


def _certificate(one: Mentor) -> str:
    if one.left_s is None:
        return "none"
    if one.left_s <= 0:
        return "ended"
    days = one.left_s / _DAY_S
    return f"{days:.0f} days" if days >= 1 else f"{one.left_s:.0f} s"


def _shown(one: Mentor) -> str:
    if one.contact_id is None:
        return "not mapped"
    return {True: "shown", False: "hidden", None: "not set"}[one.is_shown]
