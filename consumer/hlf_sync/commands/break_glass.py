"""`hlf-sync break-glass export | apply | settle`. Thin: credentials, question, progress, exit codes.

`apply` needs the wheel, a roster and a way to Dynamics, and nothing else: no PostgreSQL, no Kafka,
no registry, no worker. A credential that is typed in stays in this process's memory.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from hlf_sync import clients, operate
from hlf_sync.break_glass.apply import Apply, ApplyOutcome, ApplyPolicy
from hlf_sync.break_glass.journal import Journal, journal_of
from hlf_sync.break_glass.plan import CallPlan, PlanWish, make_plan
from hlf_sync.break_glass.roster import OLD_S, Roster, export_roster, read_roster
from hlf_sync.break_glass.settle import settle as settle_journal
from hlf_sync.clock import epoch_ms
from hlf_sync.commands.options import EnvFile, Json, has_terminal, must_agree, settings_from
from hlf_sync.commands.terminal import Terminal, echo_json
from hlf_sync.config import policies
from hlf_sync.config.loading import secret_file
from hlf_sync.config.settings import Settings, variable
from hlf_sync.core.model import Visibility
from hlf_sync.core.plural import counted
from hlf_sync.errors import HaltError, HlfSyncError, SettingsError

break_glass_app = typer.Typer(
    no_args_is_help=True,
    help=(
        "When the rest is down: hide and show mentors in Dynamics from a roster file, with"
        " credentials that are given now.\n\n`export` writes the roster while PostgreSQL is there"
        " (the nightly work does too). `apply` calls Dynamics without PostgreSQL, Kafka, registry"
        " or workers. `settle` tells the ledger afterwards.\n\nThe page for 3 a.m.:"
        " docs/runbook.md, 'Break-glass'."
    ),
)

_out = Terminal(soft_wrap=True, highlight=False)
_err = Terminal(stderr=True, soft_wrap=True, highlight=False)
_SHOWN_AT_ONCE = 20

RosterFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A roster.", show_default=False, dir_okay=False)
]
Ids = list[str] | None
Only = Annotated[
    Ids, typer.Option("--only", metavar="MENTOR", help="Only this mentor (or contact).")
]
RemovalsOnly = Annotated[
    bool, typer.Option("--removals-only", help="Hide who must be hidden; show nobody.")
]
Hide = Annotated[
    Ids,
    typer.Option(
        "--hide",
        metavar="MENTOR",
        help="Hide this one, whatever the roster says. With --hide or --show only those (and"
        " --only) are called; the journal keeps the order for later runs.",
    ),
]
Show = Annotated[
    Ids,
    typer.Option("--show", metavar="MENTOR", help="Show this one, whatever the roster says."),
]
ApplyReason = Annotated[
    str | None, typer.Option("--reason", help="Why; kept in the journal with your name.")
]
Again = Annotated[
    bool, typer.Option("--again", help="Also ask again what Dynamics refused (404, 400).")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be called, and end.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask. Needed without a terminal.")]


@break_glass_app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it (mode 0600).")],
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Write the roster: per mentor the contact, what it should show, as of when. Needs PostgreSQL.

    It holds ids and no personal datum, and names which Dynamics it is about. Its SHA-256 tells
    `apply` when it was edited. Keep one where you can reach it while everything is down.

    Exit codes: 0 written · 2 wrong settings, or the file cannot be written · 4 PostgreSQL cannot be
    reached.
    """
    roster = export_roster(settings_from(env_file), file)
    answer = {"file": str(file), **_of_roster(roster), "skipped": roster.skipped}
    if as_json:
        _out.print_json(data=answer)
        return
    _out.print(
        f"{file}: {counted(len(roster.entries), 'contact')} ({roster.counts['visible']} shown,"
        f" {roster.counts['hidden']} hidden), {roster.skipped} mentors without one. SHA-256"
        f" {roster.sha256[:16]}…"
    )


@break_glass_app.command()
def apply(
    *,
    file: RosterFile,
    only: Only = None,
    removals_only: RemovalsOnly = False,
    hide: Hide = None,
    show: Show = None,
    reason: ApplyReason = None,
    again: Again = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Make Dynamics show what the roster says, without PostgreSQL, Kafka, registry and workers.

    Shows a plan, asks, and calls at the pace: removals first. What it needs to know of Dynamics it
    takes from the settings, else from the roster; client id and secret it asks for. A line in
    FILE.journal.jsonl is on the disk before and after each call: kill it anywhere, start it again
    with the same words, and it goes on. Nobody is forgotten, and nobody who was answered for is
    called again.

    When the rest is back: `hlf-sync break-glass settle FILE.journal.jsonl`.

    Exit codes: 0 all show what they should · 2 wrong arguments, a roster that was edited · 3
    stopped: credentials refused, no answer, or contacts that Dynamics refused · 130 interrupted
    (start it again).
    """
    roster = read_roster(file)
    settings = _settings(env_file, roster, asks=not dry_run)
    wish = PlanWish(
        only=frozenset(map(str.lower, only or [])),
        removals_only=removals_only,
        orders=_orders(hide or [], show or []),
        asks_refused_again=again,
    )
    with Journal.open(journal_of(file)) as journal:
        _must_fit(journal, roster)
        plan = make_plan(
            roster, journal.account, wish, epoch_ms(), late_effect_s=settings.late_effect_s
        )
        _show_plan(file, roster, plan, settings)
        outcome = ApplyOutcome()
        if plan.due and not dry_run:
            _begin(journal, roster, plan, reason, yes=yes)
            secret = secret_file("dynamics_client_secret", env_file)
            with _told_to_go_on(journal):
                outcome = _run(settings, secret, journal, plan)
    outcome.refused.extend(plan.refused)
    if dry_run and not as_json:
        _out.print("Dry run: nothing was called.")
        return
    _show_outcome(file, roster, plan, outcome, as_json=as_json)
    if outcome.trouble or outcome.failed or (outcome.refused and not dry_run):
        raise HaltError(
            outcome.trouble
            or f"{len(outcome.failed)} not delivered, {len(outcome.refused)} refused; the same"
            " command goes on"
        )


@break_glass_app.command()
def settle(
    journal_file: Annotated[
        Path,
        typer.Argument(
            metavar="JOURNAL", help="FILE.journal.jsonl of `apply`.", show_default=False
        ),
    ],
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Tell the ledger what break-glass did: puts the mentors concerned in doubt and asks for them.

    The workers then deliver what the application says now, so that ledger and Dynamics agree again,
    also for calls whose answer never came. Who did what and why is kept (`hlf-sync history`,
    table break_glass_call). Safe to run twice, and to kill.

    Exit codes: 0 told · 2 no such journal · 4 PostgreSQL cannot be reached.
    """
    settings = settings_from(env_file)
    with Journal.open(journal_file, must_exist=True) as journal, operate.connected(settings) as db:
        found = settle_journal(
            journal, db, late_effect_s=settings.late_effect_s, by=operate.operator()
        )
    answer = {
        "mentors": len(found.mentor_ids),
        "calls": found.calls,
        "unanswered": found.unanswered,
        "mentor_ids": list(found.mentor_ids),
    }
    if as_json:
        _out.print_json(data=answer)
    elif not found.mentor_ids:
        _out.print("nothing to settle: this journal has no call that the ledger does not know of")
    else:
        _out.print(
            f"{counted(len(found.mentor_ids), 'mentor')} put in doubt and asked for ({counted(found.calls, 'call')},"
            f" {found.unanswered} without an answer). `hlf-sync pending` shows who is left."
        )


def _begin(
    journal: Journal, roster: Roster, plan: CallPlan, reason: str | None, *, yes: bool
) -> None:
    """Ask why, and whether; then the journal's first line, before any call."""
    why = reason or _ask_reason(yes=yes)
    if not yes:
        must_agree(f"Call Dynamics for {counted(len(plan.due), 'contact')}?")
    journal.begin(
        by=f"{operate.operator()}@{socket.gethostname()}",
        reason=why,
        roster_sha256=roster.sha256,
        as_of=roster.as_of_ms,
        orders=dict(plan.orders),
    )


def _run(settings: Settings, secret: Path | None, journal: Journal, plan: CallPlan) -> ApplyOutcome:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with _unwrapped(), Progress(*columns, console=_err, disable=not _err.is_terminal) as bar:
        task = bar.add_task("calling", total=len(plan.due))

        def tell(done: int, waiting_s: float) -> None:
            wait = f"asserting once more in {waiting_s:.0f} s" if waiting_s else "calling"
            bar.update(task, completed=done, description=wait)

        return asyncio.run(_apply(settings, secret, journal, plan, tell))


async def _apply(
    settings: Settings, secret: Path | None, journal: Journal, plan: CallPlan, tell: object
) -> ApplyOutcome:
    transport = clients.open_dynamics_transport(settings, settings.pace_concurrency)
    credentials = clients.dynamics_credentials(settings, secret, transport)
    client = clients.dynamics_client(settings, credentials, transport)
    policy = ApplyPolicy(
        policies.pacing_policy(settings),
        policies.retry_policy(settings),
        settings.late_effect_s,
        settings.breaker_failure_threshold,
    )
    try:
        return await Apply(client, journal, policy, tell).run(plan.due)  # type: ignore[arg-type]
    finally:
        await client.aclose()


@contextmanager
def _told_to_go_on(journal: Journal) -> Iterator[None]:
    """Ctrl-C in the middle of the calls says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        _err.print(f"Stopped. What was called stands in {journal.path}: the same command goes on.")
        raise


@contextmanager
def _unwrapped() -> Iterator[None]:
    """An exception of ours out of a group of tasks, as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        ours = group.subgroup(HlfSyncError)
        if ours is None:
            raise
        raise ours.exceptions[0] from None


def _settings(env_file: Path | None, roster: Roster, *, asks: bool) -> Settings:
    """The settings, with what they lack from the roster, and then from a person."""
    settings = settings_from(env_file)
    found = settings.dynamics_base_url
    theirs = roster.environment.get("dynamics_base_url")
    if found and theirs and found != theirs:
        raise SettingsError(
            f"the roster is about {theirs}, and {variable('dynamics_base_url')} is {found}"
        )
    lacking: dict[str, object] = {
        name: value
        for name, value in roster.environment.items()
        if name not in settings.model_fields_set
    }
    settings = settings.model_copy(update=lacking)
    if not asks:
        return settings
    settings = _typed_in(settings)
    settings.require("dynamics_base_url", *settings.credential_names)
    return settings


def _typed_in(settings: Settings) -> Settings:
    """Ask for what is missing, where there is a terminal. Kept in memory only."""
    if not has_terminal():
        return settings
    typed: dict[str, object] = {}
    names = ["dynamics_base_url"]
    if not settings.dynamics_managed_identity:
        names += ["dynamics_tenant_id", "dynamics_client_id"]
    for name in names:
        if not getattr(settings, name):
            typed[name] = _prompt(f"{_LABELS[name]} ({variable(name)})").strip()
    has_key = settings.dynamics_client_secret or settings.dynamics_client_certificate_file
    if not settings.dynamics_managed_identity and not has_key:
        secret = _prompt("client secret (not shown)", is_hidden=True)
        typed["dynamics_client_secret"] = SecretStr(secret)
    return settings.model_copy(update=typed)


_LABELS = {
    "dynamics_base_url": "address of Dynamics",
    "dynamics_tenant_id": "tenant id",
    "dynamics_client_id": "client id",
}


def _prompt(label: str, *, is_hidden: bool = False) -> str:
    try:
        return str(typer.prompt(label, hide_input=is_hidden, err=True))
    except typer.Abort:
        raise KeyboardInterrupt from None


def _ask_reason(*, yes: bool) -> str:
    if yes or not has_terminal():
        return "no reason given"
    return _prompt("Why (kept in the journal)")


def _orders(hide: list[str], show: list[str]) -> dict[str, Visibility]:
    hidden, shown = ({name.lower() for name in names} for names in (hide, show))
    if both := sorted(hidden & shown):
        raise SettingsError(f"{both[0]}: --hide and --show cannot both be meant")
    orders = dict.fromkeys(hidden, Visibility.HIDDEN)
    return orders | dict.fromkeys(shown, Visibility.VISIBLE)


def _must_fit(journal: Journal, roster: Roster) -> None:
    """A journal of another roster would make us believe that work is done."""
    known = journal.account.roster_sha256
    if known is not None and known != roster.sha256:
        raise SettingsError(
            f"{journal.path} belongs to another roster and is not settled: run `hlf-sync"
            f" break-glass settle {journal.path}` first, or take that roster"
        )


def _show_plan(file: Path, roster: Roster, plan: CallPlan, settings: Settings) -> None:
    age_s = roster.age_s(epoch_ms())
    _err.print(
        f"{file}: {counted(len(roster.entries), 'contact')} of {settings.dynamics_base_url}, as of"
        f" {datetime.fromtimestamp(roster.as_of_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
        f" ({_age(age_s)} old), SHA-256 {roster.sha256[:16]}…"
    )
    if age_s > OLD_S:
        _err.print(
            Text(
                f"This roster is {_age(age_s)} old: what the application has changed since is"
                " not in it. Use --hide and --show for what you know better.",
                style="yellow",
            )
        )
    counts = plan.counts
    _err.print(
        f"To hide: {counts['remove']}, to show: {counts['restore']}; done already:"
        f" {counts['done']}, refused before: {counts['refused']} (by roster and journal; Dynamics is"
        " not asked)."
        f" About {len(plan.due) / settings.pace_requests_per_s:.0f} s at the pace."
    )
    if plan.lapsed:
        _err.print(f"Hidden because their certificate ended since: {plan.lapsed} (by this clock).")
    for item in plan.due[:_SHOWN_AT_ONCE]:
        _err.print(f"  {item.operation.value:8} {item.entry.mentor_id}")
    if len(plan.due) > _SHOWN_AT_ONCE:
        _err.print(f"  … and {len(plan.due) - _SHOWN_AT_ONCE} more")


def _show_outcome(
    file: Path, roster: Roster, plan: CallPlan, outcome: ApplyOutcome, *, as_json: bool
) -> None:
    if as_json:
        answer = {
            "roster": _of_roster(roster),
            "plan": plan.counts,
            "delivered": outcome.done,
            "failed": [item.entry.mentor_id for item in outcome.failed],
            "refused": [item.entry.mentor_id for item in outcome.refused],
            "trouble": outcome.trouble,
        }
        echo_json(answer)
        return
    _out.print(
        f"{outcome.done} delivered, {len(outcome.failed)} failed, {len(outcome.refused)} refused."
        f" Later: hlf-sync break-glass settle {file}.journal.jsonl"
    )


def _of_roster(roster: Roster) -> dict[str, object]:
    as_of = datetime.fromtimestamp(roster.as_of_ms / 1000, UTC).isoformat()
    return {"sha256": roster.sha256, "as_of": as_of, "counts": roster.counts}


def _age(seconds: float) -> str:
    hours = seconds / 3600
    return f"{seconds / 60:.0f} min" if hours < 1 else f"{hours:.0f} h"


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(break_glass_app, name="break-glass", rich_help_panel="Steer")
