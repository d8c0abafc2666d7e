"""`hlf-sync top`: a live view of the workers. Thin: reads settings, looks, draws; what it shows is
decided in the room `top`.
"""

import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Annotated, NoReturn

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from hlf_sync.clock import epoch_ms
from hlf_sync.commands.options import EnvFile, Json, settings_from
from hlf_sync.commands.pending import everybody_open
from hlf_sync.commands.terminal import Terminal, echo_json
from hlf_sync.commands.workers import Workers, registered
from hlf_sync.config.settings import Settings
from hlf_sync.core.open_update import Conditions
from hlf_sync.errors import DependencyError, HlfSyncError
from hlf_sync.pending.open_mentors import OpenMentor
from hlf_sync.pending.screenful import Section, paged
from hlf_sync.pending.screenful import draw as draw_page
from hlf_sync.top.headline import headlines, wrongly_listed
from hlf_sync.top.journal import Event, happened
from hlf_sync.top.keys import OnScreen, keyboard, turned
from hlf_sync.top.look import Kin, Look, Looker, Registered, addresses_of, followed, looker
from hlf_sync.top.paint import paint
from hlf_sync.top.picture import AWAY, Picture
from hlf_sync.top.screen import Past, draw, fitted

_out = Terminal()

# A rate needs two looks; `--once` takes them this far apart.
_APART_S = 1.0
# Columns of a sparkline, and so looks that are remembered.
_REMEMBERED = 40
_EVENTS = 50
# One look at everybody costs PostgreSQL up to half a second at 10,000 mentors.
_READ_EVERY_S = 10.0
_KEYS = "p: whom   q: leave"
_KEYS_WHOM = "n: next page   b: back   p: the fleet   Ctrl-C: leave"

Every = Annotated[
    float,
    typer.Option(
        "--every", metavar="SECONDS", min=0.2, max=3600, help="Seconds between two looks."
    ),
]
Once = Annotated[
    bool,
    typer.Option(
        "--once",
        help=(
            "Print one picture and end (so it does without a terminal). Exit 4: no worker answered."
        ),
    ),
]


def top(
    workers: Workers = None,
    every: Every = 2.0,
    once: Once = False,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Watch the workers: who may be shown or hidden wrongly now, why, and what to do; then circuit, lag,
    queue, pace, stages, errors.

    Reads each worker's `/status` and `/metrics`, changes nothing. The key `p` shows whom: a page of
    `hlf-sync pending`, `n` and `b` the next one and back. `q` or Ctrl-C ends it.

    Finds all workers by itself, through PostgreSQL. Else: `hlf-sync top --worker host-1:8080
    --worker host-2:8080`
    """
    settings = settings_from(env_file)
    known = registered(settings)
    addresses = (not workers and known.addresses) or addresses_of(workers or [], settings)
    known = replace(known, addresses=addresses)
    with looker() as eyes:
        watch = _Watch(eyes, settings, known, does_follow=not workers)
        if once or as_json or sys.stdout is None or not sys.stdout.isatty():
            _print_once(watch, as_json=as_json)
        else:
            _live(watch, _Whom(settings), every)


class _Watch:
    """Remembers what a picture needs of the looks before it."""

    def __init__(
        self, eyes: Looker, settings: Settings, known: Registered, *, does_follow: bool
    ) -> None:
        self._eyes = eyes
        self._settings = settings
        self._known = known
        self._does_follow = does_follow
        self._before: list[Look] = []
        self._seen_at_s: dict[str, float] = {}
        self._past: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        self.events: deque[Event] = deque(maxlen=_EVENTS)
        self.picture: Picture | None = None

    def turn(self) -> Picture:
        """Look at everybody once."""
        kin = Kin.of(self._settings, self._known)
        looks = self._eyes.look(self._known.addresses, time.monotonic(), kin)
        self._seen_at_s |= {look.address: look.at_s for look in looks if look.said is not None}
        picture = paint(looks, self._before, self._seen_at_s)
        if self._does_follow:
            self._known = followed(self._known, looks, socket.gethostname())
            picture = replace(
                picture,
                unreachable=self._known.unreachable,
                is_guessed=self._known.names is None and self._settings.postgres_dsn is not None,
            )
        if self.picture is not None:
            self.events.extend(reversed(happened(self.picture, picture, epoch_ms())))
        self._past.append((picture.freshness_s, picture.pace.calls if picture.pace else 0.0))
        self._before, self.picture = looks, picture
        return picture

    @property
    def past(self) -> Past:
        """Earlier figures."""
        return Past(
            [freshness_s for freshness_s, _ in self._past], [calls for _, calls in self._past]
        )


def _print_once(watch: _Watch, *, as_json: bool) -> None:
    picture = watch.turn()
    if picture.verdict != AWAY:
        time.sleep(_APART_S)
        picture = watch.turn()
    if as_json:
        echo_json(as_dict(picture))
    else:
        _out.print(_drawn(watch))
    if picture.verdict == AWAY:
        raise DependencyError(
            "the worker" if len(picture.members) == 1 else "every worker",
            "; ".join(f"{m.address} {m.trouble}" for m in picture.members),
        )


def as_dict(picture: Picture) -> dict[str, object]:
    """The picture for scripts; the sentences of the screen with it."""
    found = asdict(picture)
    for name in ("circuit", "queue"):
        value = getattr(picture, name)
        found[name] = value and value.model_dump()
    found["reasons"] = [reason.value for reason in picture.reasons]
    found["wrongly_listed"] = wrongly_listed(picture)
    found["headlines"] = [asdict(line) for line in headlines(picture)]
    return found


class _Whom:
    """Who is not at rest, read when somebody looks, and again after ten seconds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._read_at_s = float("-inf")
        self._around = Conditions(now_s=0.0)
        self._found: list[OpenMentor] = []
        self._trouble = ""

    def look(self) -> None:
        """Read, unless what was read is still new."""
        if time.monotonic() - self._read_at_s < _READ_EVERY_S:
            return
        try:
            self._around, self._found = everybody_open(self._settings)
            self._trouble = ""
        except HlfSyncError as error:
            self._trouble = str(error)
        self._read_at_s = time.monotonic()

    @property
    def pages(self) -> Sequence[Sequence[Section]]:
        """As many as this terminal needs now."""
        return paged(self._found, _out.height)

    def drawn(self, number: int) -> RenderableType:
        """One page, or the last one; or why there is none."""
        if self._trouble:
            return Group(Text(self._trouble, "red"), Text(_KEYS_WHOM, "dim"))
        pages = self.pages
        return draw_page(pages, min(number, len(pages) - 1), self._around, _KEYS_WHOM)


def _live(watch: _Watch, whom: _Whom, every_s: float) -> None:
    """Draw on the alternate screen until Ctrl-C; the last picture stays on the ordinary one."""
    with _until_stopped():
        _follow(watch, whom, every_s)
    _out.print(_drawn(watch))


def _follow(watch: _Watch, whom: _Whom, every_s: float) -> None:
    view: OnScreen | None = OnScreen()
    with keyboard() as keys, Live(console=_out, screen=True, auto_refresh=False) as live:
        while view is not None:
            watch.turn()
            end_s = time.monotonic() + every_s
            while view is not None:
                live.update(_on_screen(watch, whom, view), refresh=True)
                key = keys.key(max(0.0, end_s - time.monotonic()))
                if key is None:
                    break
                view = turned(view, key, len(whom.pages))


def _on_screen(watch: _Watch, whom: _Whom, view: OnScreen) -> RenderableType:
    if view.is_whom:
        whom.look()
        return whom.drawn(view.page)
    if watch.picture is None:
        return ""
    fleet = fitted(
        _out,
        _out.height - 1,
        watch.picture,
        at_ms=epoch_ms(),
        past=watch.past,
        events=watch.events,
    )
    return Group(fleet, Text(_KEYS, "dim"))


def _drawn(watch: _Watch) -> RenderableType:
    if watch.picture is None:
        return ""
    return draw(
        watch.picture, at_ms=epoch_ms(), past=watch.past, events=watch.events, width=_out.width
    )


@contextmanager
def _until_stopped() -> Iterator[None]:
    """Ctrl-C is how one leaves; SIGTERM too, so that the cursor and the screen come back."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, previous)


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command("top", rich_help_panel="Look")(top)
