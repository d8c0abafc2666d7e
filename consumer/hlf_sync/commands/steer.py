"""Commands that steer a running fleet: force, sweep, resume, confirm-removals."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer

from hlf_sync import operate
from hlf_sync.commands.options import EnvFile, Json, must_agree, settings_from
from hlf_sync.commands.selection import File, Mentors, Since, Statuses, selected
from hlf_sync.commands.terminal import Terminal, echo_json
from hlf_sync.commands.waiting import DEFAULT_S, Awaited, Timeout, Wait, wait_for
from hlf_sync.config.settings import Settings
from hlf_sync.core.decide import Rules
from hlf_sync.core.ending import Exit
from hlf_sync.core.fleet_verdict import halt_words
from hlf_sync.core.halts import HALTS, Ends, stops
from hlf_sync.core.model import HaltReason, Operation, Trigger
from hlf_sync.core.plain_text import plain
from hlf_sync.core.plural import counted
from hlf_sync.errors import SettingsError
from hlf_sync.postgres.facts import read_now
from hlf_sync.why.one_sentence import tell

_out = Terminal(soft_wrap=True)
_err = Terminal(stderr=True, soft_wrap=True)
_A_SCREENFUL = 20


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
    _say(answer, sentence, as_json=as_json)


def _is_over(lost: int) -> str:
    """How a sweep that was waited for has ended."""
    if not lost:
        return ", and all of them are through"
    letters = f"{lost:,} as a dead letter" if lost == 1 else f"{lost:,} as dead letters"
    return f", and all of them were looked at; {letters} (`hlf-sync pending --cause dead_lettered`)"


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
    halt = word.replace("_", "-")
    sentence = f"{halt}: lifted, calls go on" if is_lifted else f"{halt} did not halt anything"
    _say({"reason": word, "lifted": is_lifted}, sentence, as_json=as_json)


def confirm_removals(
    reason: Reason,
    yes: Yes = False,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show every mentor, not only twenty of each cause.")
    ] = False,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Let through the removals that the mass change guard holds back: shows how many of the listing,
    why and whom, asks, and confirms exactly those.
    """
    settings = settings_from(env_file)
    with operate.connected(settings) as connection:
        waiting = operate.held_removals(connection, Rules(organization=settings.organization))
        listed = operate.listed(connection)
        causes = Counter(one.cause for one in waiting)
        if not as_json:
            _show_held(waiting, causes, listed, show_all=show_all)
        if waiting and not yes:
            must_agree("Take them all off the public listing?")
        mentor_ids = [one.mentor_id for one in waiting]
        operate.confirm_removals(connection, mentor_ids, reason)
    answer = {"confirmed": len(waiting), "mentor_ids": mentor_ids}
    _say(
        {**answer, "causes": dict(causes)},
        f"{counted(len(waiting), 'removal')} let through",
        as_json=as_json,
    )


_CAUSES = {
    "no_valid_certificate": "without a valid certificate",
    "gone": "gone from the application",
    "other_organization": "of another organisation now",
    "contact_replaced": "former contacts of a corrected mapping",
}


def _show_held(
    waiting: list[operate.HeldRemoval], causes: Counter[str], listed: int, *, show_all: bool
) -> None:
    """By cause, the most frequent first."""
    share = f", {len(waiting) / listed:.0%} of the {listed:,} that are shown" if listed else ""
    wait = "waits" if len(waiting) == 1 else "wait"
    told = f"{counted(len(waiting), 'removal')} {wait}{share if waiting else ''}"
    _out.print(told + (":" if waiting else "."))
    for cause, count in causes.most_common():
        _out.print(f"  {count:,} {_CAUSES.get(cause, f'with the status {plain(cause)}')}")
        mentors = [one.mentor_id for one in waiting if one.cause == cause]
        for mentor_id in mentors if show_all else mentors[:_A_SCREENFUL]:
            _out.print(f"    {mentor_id}")
        if len(mentors) > _A_SCREENFUL and not show_all:
            _out.print(f"    … and {len(mentors) - _A_SCREENFUL:,} more (--all shows them)")


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
            plain(f"{halt_words(row['reason'])} ({row['detail']}){_to_do(row['reason'])}")
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


def _say(answer: dict[str, object], sentence: str, *, as_json: bool) -> None:
    if as_json:
        echo_json(answer, indent=2)
    else:
        _out.print(sentence, highlight=False)


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    panel = "Steer"
    app.command("force", rich_help_panel=panel)(force)
    app.command("sweep", rich_help_panel=panel)(sweep)
    app.command("resume", rich_help_panel=panel)(resume)
    app.command("confirm-removals", rich_help_panel=panel)(confirm_removals)
