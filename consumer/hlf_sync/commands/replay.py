"""The commands `hlf-sync replay plan | apply | show | watch | close`. Thin: reads arguments, calls
the replay room, prints.

The answer goes to stdout, progress and notes to stderr. Exceptions pass through: the command line
turns them into exit codes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from hlf_sync import operate
from hlf_sync.clock import epoch_ms
from hlf_sync.commands.options import EnvFile, Json, must_agree, settings_from
from hlf_sync.commands.terminal import Terminal, echo_json
from hlf_sync.commands.times import time_of
from hlf_sync.config.settings import Settings
from hlf_sync.core.model import LetterKind
from hlf_sync.core.plural import counted
from hlf_sync.errors import HaltError, SettingsError
from hlf_sync.replay.judgement import UNREADABLE
from hlf_sync.replay.rollout import RolloutPolicy

replay_app = typer.Typer(
    no_args_is_help=True,
    help=(
        "Drain the dead letters: `plan` looks and changes nothing, `apply` asks the workers for"
        " what is due.\n\nA letter is never applied as it was: it names a mentor, and what is due"
        " for the mentor is decided from the facts of now. So an old letter does no harm, and a"
        " mentor that was delivered since needs nothing."
    ),
)

T = TypeVar("T")
_out = Terminal(soft_wrap=False)
_error = Terminal(stderr=True)

_KINDS = (*(kind.value for kind in LetterKind), UNREADABLE)
_FILTERS = "Filters"
_PACE = "Pace"

Rate = Annotated[
    float | None,
    typer.Option(
        "--rate",
        min=0.01,
        metavar="N",
        help="Requests per second at most. Default: the pace of the fleet.",
        rich_help_panel=_PACE,
    ),
]
FailureRatio = Annotated[
    float,
    typer.Option(
        "--failure-ratio",
        min=0,
        max=1,
        help="Stop when more than this part of the last letters failed again.",
        rich_help_panel=_PACE,
    ),
]
LetterIds = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID", help="Letters' ids, as `replay plan` shows them.", show_default=False
    ),
]
Kinds = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        metavar="KIND",
        help=f"Only these: {', '.join(_KINDS)}.",
        rich_help_panel=_FILTERS,
    ),
]
ErrorCodes = Annotated[
    list[str] | None,
    typer.Option(
        "--error-code",
        metavar="CODE",
        help="Only these: server_error, not_found, …",
        rich_help_panel=_FILTERS,
    ),
]
OfMentors = Annotated[
    list[str] | None,
    typer.Option(
        "--mentor",
        metavar="UUID",
        help="Only letters about these mentors.",
        rich_help_panel=_FILTERS,
    ),
]
WrittenSince = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Written since: 2026-03-01T12:00, or an age: 90m, 2h, 3d.",
        rich_help_panel=_FILTERS,
    ),
]
WrittenBefore = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="Written before.", rich_help_panel=_FILTERS),
]
Partitions = Annotated[
    list[int] | None,
    typer.Option(
        "--partition", metavar="N", help="Only these partitions.", rich_help_panel=_FILTERS
    ),
]
FromOffset = Annotated[
    int | None,
    typer.Option(
        "--from-offset",
        min=0,
        metavar="N",
        help="From this offset of each partition. Default: the first not resolved.",
        rich_help_panel=_FILTERS,
    ),
]
ToOffset = Annotated[
    int | None,
    typer.Option(
        "--to-offset",
        min=0,
        metavar="N",
        help="Up to this offset of each partition, exclusive.",
        rich_help_panel=_FILTERS,
    ),
]
Repaired = Annotated[
    bool,
    typer.Option(
        "--repaired",
        help="What Dynamics refused (404, 400 …) has been repaired there: count it as due.",
    ),
]
PlanOutput = Annotated[
    Path | None,
    typer.Option(
        "--output", metavar="FILE", help="Where to write the plan. Default: replay-plan-TIME.json."
    ),
]


@replay_app.command()
def plan(
    *,
    kind: Kinds = None,
    error_code: ErrorCodes = None,
    mentor: OfMentors = None,
    since: WrittenSince = None,
    until: WrittenBefore = None,
    partition: Partitions = None,
    from_offset: FromOffset = None,
    to_offset: ToOffset = None,
    repaired: Repaired = False,
    rate: Rate = None,
    output: PlanOutput = None,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Look at the dead letters, and write down what a replay would do. Changes nothing.

    Each letter gets a verdict with its reason: **due** (apply asks for it), **superseded** (the
    mentor was delivered since, or a newer letter stands for it), **duplicate**, **investigate** (a
    person must repair something first; `replay show ID` says what).
    """
    from hlf_sync.replay import plan_file, plan_page, planning  # noqa: PLC0415

    settings = settings_from(env_file)
    filters = planning.Filters(
        kinds=frozenset(_kind(word) for word in kind or []),
        error_codes=frozenset(error_code or []),
        mentor_ids=frozenset(operate.mentor(text) for text in mentor or []),
        since_ms=_time("--since", since),
        until_ms=_time("--until", until),
        partitions=frozenset(partition or []),
        first_offset=from_offset,
        end_offset=to_offset,
    )
    found = _work(
        settings,
        lambda place: planning.make_plan(
            place, filters, is_repaired=repaired, rate_per_s=rate or settings.pace_requests_per_s
        ),
    )
    file = output or Path(
        f"replay-plan-{datetime.fromtimestamp(epoch_ms() // 1000, UTC):%Y%m%dT%H%M%SZ}.json"
    )
    plan_file.write(found, file)
    if as_json:
        echo_json(found.content(), indent=2)
    else:
        plan_page.PlanPage(_out).show(found)
    _say(_next_step(found, file))


@replay_app.command()
def apply(
    *,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A plan of `replay plan`.", show_default=False)
    ],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask. Needed without a terminal.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why; kept with each request.")
    ] = None,
    rate: Rate = None,
    failure_ratio: FailureRatio = 0.2,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Ask the workers for what is due in a plan: one letter, then ten, then all; and follow them to
    their end.

    Each letter is judged again before it is asked for. Stops when too many fail again, or when a
    halt stands in the way (exit 3). It may be killed at any point: apply the same file again, and
    it goes on. A plan that was edited, or whose topic was created anew, is refused (exit 2), and so
    is a second replay at the same time.
    """
    from hlf_sync.replay import plan_file, run_view, session  # noqa: PLC0415

    settings = settings_from(env_file)
    found = plan_file.read(file)
    if settings.delivery == "shadow":
        raise SettingsError(
            "HLF_SYNC_DELIVERY is shadow: nothing is delivered, so nothing can be replayed"
        )
    _ask_first(found, yes=yes)
    policy = RolloutPolicy(rate or settings.pace_requests_per_s, failure_ratio)
    outcome = session.SessionOutcome()
    try:
        with run_view.view_for(_error) as view:
            _work(
                settings,
                lambda place: session.apply(place, found, policy, view, outcome, reason=reason),
                say=view.say,
            )
    except SettingsError:  # refused: nothing was done
        raise
    except BaseException:
        _show_outcome(found.plan_id, outcome, as_json=as_json)
        raise
    _show_outcome(found.plan_id, outcome, as_json=as_json)
    if outcome.trouble is not None:
        raise HaltError(outcome.trouble)


@replay_app.command()
def show(
    *,
    letter_id: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="A letter's id, as `replay plan` and `pending` show it.",
            show_default=False,
        ),
    ],
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Explain one letter: what failed, where its mentor stands now, what follows, who asked for it.

    For a record that could not be read, the record itself is fetched and described: sizes, framing,
    schema, whether the bytes are the same, what is wrong today. Its values are never shown.
    """
    from hlf_sync.replay import inspection, letter_page  # noqa: PLC0415

    found = _work(settings_from(env_file), lambda place: inspection.explain(place, letter_id))
    if as_json:
        echo_json(letter_page.content(found), indent=2)
    else:
        _out.print(letter_page.letter_page(found))


@replay_app.command()
def watch(
    *,
    settle: Annotated[
        float,
        typer.Option(
            "--settle",
            min=0,
            metavar="S",
            help="Seconds that an exhausted letter waits before its first replay.",
        ),
    ] = 15,
    every: Annotated[
        float, typer.Option("--every", min=0.1, metavar="S", help="Seconds between two looks.")
    ] = 5,
    once: Annotated[
        bool,
        typer.Option("--once", help="Take one look, replay what is due, and end (for a timer)."),
    ] = False,
    rate: Rate = None,
    failure_ratio: FailureRatio = 0.2,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Follow the dead letters, and replay by itself what became deliverable, for example after an
    outage. Ctrl-C ends it.

    Only what needs no person, and only while workers run, nothing is halted and the circuit is not
    open. A mentor that fails again waits twice as long before the next time, up to an hour.
    """
    from hlf_sync.replay import run_view, session, watching  # noqa: PLC0415

    settings = settings_from(env_file)
    policy = watching.WatchPolicy(
        RolloutPolicy(rate or settings.pace_requests_per_s, failure_ratio), settle, every
    )
    with run_view.view_for(_error) as view:
        outcome = _work(
            settings, lambda place: session.watch(place, policy, view, is_once=once), say=view.say
        )
    _show_outcome(None, outcome, as_json=as_json)


@replay_app.command()
def close(
    *,
    letter_ids: LetterIds = None,
    reason: Annotated[
        str, typer.Option("--reason", help="What was found and done; kept with your name.")
    ],
    plan_path: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="FILE",
            help="Close what this plan found to be a person's matter: `replay plan` with filters"
            " makes it.",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask. Needed with --plan and without a terminal.")
    ] = False,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Close letters that were investigated: nothing is left to do about them, so the replay group's
    offset may pass.

    For records that nobody can read, above all. A mentor that the letter names is looked at once
    more. Letters that are due cannot be closed: apply them.

    Many at once: `replay plan --kind undecodable --since 2d --output FILE`, look at it, then
    `replay close --plan FILE --reason TEXT`. Shows how many, asks, and judges each letter again:
    what has become due meanwhile stays open. A plan that was edited is refused (exit 2).
    """
    from hlf_sync.replay import plan_file, session  # noqa: PLC0415 - as above

    if bool(letter_ids) == (plan_path is not None):
        raise SettingsError("either ids of letters, or --plan FILE")
    if plan_path is None:
        found = _work(
            settings_from(env_file), lambda place: session.close(place, letter_ids or [], reason)
        )
    else:
        planned = plan_file.read(plan_path)
        count = len(planned.to_investigate)
        if count and not yes:
            must_agree(f"Close {counted(count, 'letter')} of {plan_path} for good?")
        found = _work(
            settings_from(env_file), lambda place: session.close_plan(place, planned, reason)
        )
    if as_json:
        echo_json(asdict(found))
        return
    _out.print(
        f"{len(found.closed)} closed, {len(found.resolved)} were resolved before; lag of the replay"
        f" group: {found.lag}",
        highlight=False,
    )


def _work(
    settings: Settings,
    work: Callable[[Any], Awaitable[T]],
    say: Callable[[str], None] | None = None,
) -> T:
    """Open the parts, and do it; what cannot be reached at first is waited for."""
    from hlf_sync.replay import workplace  # noqa: PLC0415 - as above

    async def main() -> T:
        async with workplace.opened(settings) as place:
            return await workplace.patiently(
                lambda: work(place), deadline_s=settings.startup_deadline_s, say=say or _say
            )

    return asyncio.run(main())


def _ask_first(found: Any, *, yes: bool) -> None:
    from hlf_sync.replay.plan_page import PlanPage  # noqa: PLC0415 - as above

    if yes:
        return
    _say(f"As it was at {found.created_at}; each letter is judged again before it is asked for.")
    PlanPage(_error).show(found)
    must_agree(f"Ask for {counted(len(found.due), 'letter')}?")


def _show_outcome(plan_id: str | None, outcome: Any, *, as_json: bool) -> None:
    content = {"plan_id": plan_id, **outcome.content()} if plan_id else outcome.content()
    if as_json:
        echo_json(content, indent=2)
        return
    for line in outcome.lines():
        _out.print(line, highlight=False, soft_wrap=True)


def _kind(word: str) -> str:
    if word not in _KINDS:
        raise SettingsError(f"--kind {word}: no kind of letter; known: {', '.join(_KINDS)}")
    return word


def _time(option: str, text: str | None) -> int | None:
    return None if text is None else time_of(option, text)


def _next_step(found: Any, file: Path) -> str:
    """What to do with a plan."""
    if found.due:
        return f"The plan is in {file}. Apply it: hlf-sync replay apply {file}"
    if found.letters:
        return (
            f"The plan is in {file}. Nothing is due; applying it moves the group's offsets past"
            " what is resolved."
        )
    return f"The (empty) plan is in {file}."


def _say(line: str) -> None:
    _error.print(line, markup=False, highlight=False, soft_wrap=True)


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(replay_app, name="replay", rich_help_panel="Steer")
