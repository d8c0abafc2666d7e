"""`--wait`: until something is done, with progress, and with an end. Used by every command that has
the option; knows neither PostgreSQL nor what is waited for.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer

from hlf_sync.errors import HaltError

_LOOK_S = 0.25
# A person wonders after a few seconds, and need not be told each of them.
_FIRST_WORD_S = 5.0
_NEXT_WORD_S = 10.0

DEFAULT_S = 120.0

Wait = Annotated[
    bool,
    typer.Option(
        "--wait",
        help="Wait until it is done; exit 3 when a halt stands in the way, or --timeout passes.",
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0,
        help="How long --wait waits at the most; then exit 3.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """What is waited for. `halts` are sentences, empty while nothing halts it; `standing` says what
    is still open, `obstacles` what may be in the way.
    """

    is_done: Callable[[], bool]
    halts: Callable[[], list[str]]
    standing: Callable[[], str]
    obstacles: Callable[[], list[str]]


def wait_for(awaited: Awaited, timeout_s: float, say: Callable[[str], None]) -> None:
    """Return when it is done. Raises `HaltError` when a halt stands in the way, or when the time is
    over: with what is still open and what may be in the way.
    """
    began_s = time.monotonic()
    word_at_s = began_s + _FIRST_WORD_S
    while not awaited.is_done():
        if halts := awaited.halts():
            raise HaltError("halted: " + ", ".join(halts))
        now_s = time.monotonic()
        if now_s - began_s >= timeout_s:
            raise HaltError(f"not done after {timeout_s:g} s: {_told(awaited)}")
        if now_s >= word_at_s:
            word_at_s = now_s + _NEXT_WORD_S
            say(f"{now_s - began_s:.0f} s: {_told(awaited)}")
        time.sleep(_LOOK_S)


def _told(awaited: Awaited) -> str:
    return "; ".join([awaited.standing(), *awaited.obstacles()])
