"""`hlf-sync resume | confirm-removals`: go on after a halt, and let through what the mass removal
guard holds back.
"""

from collections import Counter
from typing import Annotated

import typer

from hlf_sync import operate
from hlf_sync.commands.options import EnvFile, Json, Reason, Yes, must_agree, settings_from
from hlf_sync.commands.terminal import Terminal, say
from hlf_sync.core.decide import Rules
from hlf_sync.core.halts import HALTS, Ends
from hlf_sync.core.model import HaltReason
from hlf_sync.core.plain_text import plain
from hlf_sync.core.plural import counted
from hlf_sync.errors import SettingsError

_out = Terminal(soft_wrap=True)
_A_SCREENFUL = 20


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
    say(_out, {"reason": word, "lifted": is_lifted}, sentence, as_json=as_json)


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
    say(
        _out,
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
    share = f", {len(waiting) / listed:.0%} of the {listed:,} that are listed" if listed else ""
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


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    panel = "Steer"
    app.command("resume", rich_help_panel=panel)(resume)
    app.command("confirm-removals", rich_help_panel=panel)(confirm_removals)
