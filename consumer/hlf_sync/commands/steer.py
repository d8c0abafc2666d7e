"""Commands that steer a running fleet: force, sweep, resume, confirm-removals."""

from collections.abc import Callable
from typing import Annotated

import typer

from hlf_sync import operate
from hlf_sync.commands.options import EnvFile, Json, must_agree, settings_from
from hlf_sync.commands.selection import File, Mentors, Since, Statuses, selected
from hlf_sync.commands.terminal import Terminal, echo_json
from hlf_sync.commands.waiting import DEFAULT_S, Awaited, Timeout, Wait, wait_for
from hlf_sync.config.settings import Settings
from hlf_sync.core.decide import Rules
from hlf_sync.core.halts import HALTS, Ends, stops
from hlf_sync.core.model import HaltReason, Operation, Trigger
from hlf_sync.core.plain_text import plain
from hlf_sync.errors import SettingsError
from hlf_sync.postgres.facts import read_now

_out = Terminal(soft_wrap=True)
_err = Terminal(stderr=True, soft_wrap=True)


def _says_something(reason: str) -> str:
    if not reason.strip():
        raise SettingsError("--reason says nothing: why? It is kept with the request")
    return reason


Reason = Annotated[
    str, typer.Option("--reason", help="Why; kept with the request.", callback=_says_something)
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def force(
    mentor: Annotated[str, typer.Argument(metavar="MENTOR", help="The mentor's UUID.")],
    reason: Reason,
    wait: Wait = False,
    timeout: Timeout = DEFAULT_S,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Look at one mentor now, and deliver what is due."""
    mentor_id = operate.mentor(mentor)
    settings = settings_from(env_file)
    with operate.connected(settings) as connection:
        before = operate.ledger_row(connection, mentor_id)
        request = operate.ask(connection, mentor_id, Trigger.MANUAL.value, reason)
        if wait:
            operate.require_not_paused(connection, mentor_id)
            rules = Rules(organization=settings.organization)
            _await_rest(
                connection,
                settings,
                timeout,
                is_done=lambda: operate.is_handled(connection, mentor_id, before, rules),
                needs_removal=lambda: operate.is_removal_due(connection, mentor_id, rules),
                standing=lambda: operate.standing_of(connection, mentor_id),
            )
        row = operate.ledger_row(connection, mentor_id)
        if row is None and read_now(connection, [mentor_id]).mentors[mentor_id].facts is None:
            _err.print(
                f"nobody knows {mentor_id}: neither the application's mentors nor the ledger have"
                " it",
                style="yellow",
                highlight=False,
            )
    _say(
        {
            "mentor_id": mentor_id,
            "request_id": request,
            "state": row and row["state"],
            "applied": row and row["applied"],
        },
        as_json=as_json,
    )


def sweep(
    wait: Wait = False,
    timeout: Timeout = DEFAULT_S,
    reason: Reason = "sweep",
    mentors: Mentors = None,
    file: File = None,
    since: Since = None,
    statuses: Statuses = None,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Look at every mentor in the view and in the ledger, or at a selection of them (the nightly
    batch; safe to run many times at once).
    """
    settings = settings_from(env_file)
    rules, is_shadow = Rules(organization=settings.organization), settings.delivery == "shadow"
    with operate.connected(settings) as connection:
        only = selected(connection, mentors, file, since, statuses)
        count, asked_at = operate.sweep(connection, reason, only)
        if wait:
            _await_rest(
                connection,
                settings,
                timeout,
                is_done=lambda: operate.is_swept(
                    connection, asked_at, rules, is_shadow=is_shadow, only=only
                ),
                needs_removal=lambda: bool(operate.held_removals(connection, rules)),
                standing=lambda: operate.standing_of_sweep(
                    connection, asked_at, is_shadow=is_shadow
                ),
            )
    _say({"requests": count}, as_json=as_json)


def resume(
    reason: Annotated[
        str, typer.Argument(metavar="REASON", help="What halted: dead-letter-limit, auth.")
    ],
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Go on after a halt, once its cause is repaired."""
    word = reason.replace("-", "_")
    if word not in set(HaltReason):
        message = f"{reason!r} is not a halt; known: {', '.join(HaltReason)}"
        raise SettingsError(message)
    if HALTS[HaltReason(word)].ends is Ends.CONFIRM_REMOVALS:
        message = (
            "a mass removal is let through by `hlf-sync confirm-removals --reason TEXT`, which"
            " shows who waits"
        )
        raise SettingsError(message)
    with operate.connected(settings_from(env_file)) as connection:
        is_lifted = operate.lift(connection, HaltReason(word))
    _say({"reason": word, "lifted": is_lifted}, as_json=as_json)


def confirm_removals(
    reason: Reason,
    yes: Yes = False,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Let through the removals that the mass change guard holds back: shows how many and whom,
    asks, and confirms exactly those.
    """
    settings = settings_from(env_file)
    with operate.connected(settings) as connection:
        waiting = operate.held_removals(connection, Rules(organization=settings.organization))
        if not as_json:
            _out.print(f"{len(waiting)} removals wait" + (":" if waiting else "."))
            for mentor_id in waiting[:20]:
                _out.print(f"  {mentor_id}")
            if len(waiting) > 20:  # noqa: PLR2004 - a screenful
                _out.print(f"  … and {len(waiting) - 20} more")
        if waiting and not yes:
            must_agree("Take them all off the public listing?")
        operate.confirm_removals(connection, waiting, reason)
    _say({"confirmed": len(waiting), "mentor_ids": waiting}, as_json=as_json)


def _await_rest(
    connection: operate.Connection,
    settings: Settings,
    timeout_s: float,
    *,
    is_done: Callable[[], bool],
    needs_removal: Callable[[], bool],
    standing: Callable[[], str],
) -> None:
    """Wait until it is done; the mass change guard halts it only where somebody is to be removed."""

    def halts() -> list[str]:
        return [
            plain(f"{row['reason']} ({row['detail']})")
            for row in operate.halts(connection)
            if stops(row["reason"], Operation.RESTORE) or needs_removal()
        ]

    awaited = Awaited(
        is_done=is_done,
        halts=halts,
        standing=standing,
        obstacles=lambda: operate.obstacles(connection, settings.organization),
    )
    wait_for(awaited, timeout_s, lambda line: _err.print(line, highlight=False))


def _say(answer: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        echo_json(answer, indent=2)
    else:
        _out.print(
            "  ".join(
                f"{name}: {value}" for name, value in answer.items() if not isinstance(value, list)
            )
        )


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    panel = "Steer"
    app.command("force", rich_help_panel=panel)(force)
    app.command("sweep", rich_help_panel=panel)(sweep)
    app.command("resume", rich_help_panel=panel)(resume)
    app.command("confirm-removals", rich_help_panel=panel)(confirm_removals)
