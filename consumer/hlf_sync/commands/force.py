"""`hlf-sync force | sweep`: ask for a look at one mentor, or at many. What they write:
postgres/statements/sync_request.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer

from hlf_sync import operate
from hlf_sync.commands.options import EnvFile, Json, Reason, settings_from
from hlf_sync.commands.selection import File, Mentors, Since, Statuses, selected
from hlf_sync.commands.terminal import Terminal, echo_json, say
from hlf_sync.commands.waiting import DEFAULT_S, Awaited, Timeout, Wait, wait_for
from hlf_sync.config.settings import Settings
from hlf_sync.core.decide import Rules
from hlf_sync.core.ending import Exit
from hlf_sync.core.halts import HALTS, stops
from hlf_sync.core.model import HaltReason, Operation, Trigger
from hlf_sync.core.plain_text import plain
from hlf_sync.core.plural import counted
from hlf_sync.postgres.facts import read_now
from hlf_sync.why.one_sentence import tell

_out = Terminal(soft_wrap=True)
_err = Terminal(stderr=True, soft_wrap=True)


def force(
    mentor: Annotated[str, typer.Argument(metavar="MENTOR", help="The mentor's UUID.")],
    reason: Reason,
    wait: Wait = False,
    timeout: Timeout = DEFAULT_S,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Ask for a look at one mentor, which delivers what is due; and say how it stands, in words."""
    mentor_id = operate.mentor(mentor)
    settings = settings_from(env_file)
    rules = Rules(organization=settings.organization)
    with operate.connected(settings) as connection:
        operate.require_known(connection, [mentor_id])
        before = operate.ledger_row(connection, mentor_id)
        request = operate.ask(connection, mentor_id, Trigger.MANUAL.value, reason)
        if wait:
            operate.require_not_paused(connection, mentor_id)
            _await_rest(
                connection,
                settings,
                timeout,
                is_done=lambda: operate.is_handled(connection, mentor_id, before, rules),
                needs_removal=lambda: operate.is_removal_due(connection, mentor_id, rules),
                standing=lambda: operate.standing_of(connection, mentor_id),
            )
        row = operate.ledger_row(connection, mentor_id)
        reading = read_now(connection, [mentor_id])
    told = tell(reading.mentors[mentor_id], reading.now_s, rules)
    if as_json:
        content = {"state": row and row["state"], "applied": row and row["applied"]}
        asked = {"mentor_id": mentor_id, "request_id": request, "waited": wait}
        echo_json({**asked, **content, **asdict(told)}, indent=2)
    else:
        _out.print(f"{mentor_id} {told.sentence}", highlight=False)
        if not wait:
            _out.print(
                f"asked for a look (request {request}); --wait waits for it", highlight=False
            )
    if wait and told.is_given_up:
        raise typer.Exit(Exit.DIFFERS)


def sweep(
    wait: Wait = False,
    timeout: Timeout = DEFAULT_S,
    reason: Reason = "sweep",
    mentors: Mentors = None,
    file: File = None,
    since: Since = None,
    statuses: Statuses = None,
    is_for_all: Annotated[
        bool,
        typer.Option("--all", help="Ask for everybody, also for those of whom nothing is due."),
    ] = False,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Compare every mentor in the view and in the ledger, and have a worker look at those of whom
    something is due or open (the nightly batch; safe to run many times at once).

    A selection, and --all, have workers look at every one of them.
    """
    settings = settings_from(env_file)
    rules, is_shadow = Rules(organization=settings.organization), settings.delivery == "shadow"
    with operate.connected(settings) as connection:
        only = selected(connection, mentors, file, since, statuses)
        is_compared = only is None and not is_for_all
        swept = (
            operate.sweep(connection, reason, rules)
            if is_compared
            else operate.ask_all(connection, reason, only)
        )
        if wait:
            _await_rest(
                connection,
                settings,
                timeout,
                is_done=lambda: operate.is_swept(
                    connection, swept.at, rules, is_shadow=is_shadow, only=swept.asked
                ),
                needs_removal=lambda: bool(operate.held_removals(connection, rules)),
                standing=lambda: operate.standing_of_sweep(
                    connection, swept.at, is_shadow=is_shadow, only=swept.asked
                ),
            )
        lost = operate.given_up(connection, swept.asked) if wait and swept.requests else 0
    is_over = _is_over(lost) if wait else "; --wait waits for them"
    sentence = f"{counted(swept.requests, 'mentor')} asked for{is_over if swept.requests else ''}"
    answer: dict[str, object] = {"requests": swept.requests}
    if wait:
        answer["given_up"] = lost
    if swept.compared is not None:
        answer["compared"] = swept.compared
        sentence = f"{counted(swept.compared, 'mentor')} compared, {sentence}"
    say(_out, answer, sentence, as_json=as_json)


def _is_over(lost: int) -> str:
    """How a sweep that was waited for has ended."""
    if not lost:
        return ", and all of them are through"
    letters = f"{lost:,} as a dead letter" if lost == 1 else f"{lost:,} as dead letters"
    return f", and all of them were looked at; {letters} (`hlf-sync pending --cause dead_lettered`)"


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
            plain(f"{row['reason']} ({row['detail']}){_to_do(row['reason'])}")
            for row in operate.halts(connection)
            if stops(row["reason"], Operation.RESTORE) or needs_removal()
        ]

    awaited = Awaited(
        is_done=is_done,
        halts=halts,
        standing=standing,
        obstacles=lambda: operate.obstacles(connection, settings.organization),
    )
    try:
        wait_for(awaited, timeout_s, lambda line: _err.print(line, highlight=False))
    except KeyboardInterrupt:
        _err.print(
            "The request stands, and a worker does it: `hlf-sync why MENTOR` and `hlf-sync pending` tell.",
            highlight=False,
        )
        raise


def _to_do(reason: str) -> str:
    """What ends it: a halt's own advice, or the end of an operator's pause."""
    is_halt = reason in set(HaltReason)
    return f": {HALTS[HaltReason(reason)].advice if is_halt else '`hlf-sync unpause`'}"


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    panel = "Steer"
    app.command("force", rich_help_panel=panel)(force)
    app.command("sweep", rich_help_panel=panel)(sweep)
