"""What the operator presses while `hlf-sync top` is on the screen, and which view comes then.

`turned` is pure. `keyboard` reads single keys from a terminal and gives it back as it was; without
a terminal nobody presses anything. Called by the command line.
"""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum, auto


class Press(Enum):
    """What a key means."""

    WHOM = auto()
    NEXT = auto()
    BACK = auto()
    LEAVE = auto()


_MEANS = {
    "p": Press.WHOM,
    "n": Press.NEXT,
    " ": Press.NEXT,
    "\x1b[6~": Press.NEXT,
    "\x1b[B": Press.NEXT,
    "\x1b[C": Press.NEXT,
    "b": Press.BACK,
    "\x1b[5~": Press.BACK,
    "\x1b[A": Press.BACK,
    "\x1b[D": Press.BACK,
    "q": Press.LEAVE,
    "\x1b": Press.LEAVE,
}
# One reading takes what a held key or a paste has written, and no more.
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class OnScreen:
    """What is on the screen: the fleet, or with `is_whom` a page of who is not at rest."""

    is_whom: bool = False
    page: int = 0


def turned(view: OnScreen, key: Press, pages: int) -> OnScreen | None:
    """The view after a key; None: the operator leaves. `pages`: how many there are."""
    match key:
        case Press.WHOM:
            return OnScreen(is_whom=not view.is_whom)
        case Press.LEAVE:
            return OnScreen() if view.is_whom else None
        case Press.NEXT:
            return replace(view, page=max(0, min(view.page + 1, pages - 1)))
        case Press.BACK:
            return replace(view, page=max(min(view.page, pages - 1) - 1, 0))


def meaning(text: str) -> Press | None:
    """What was pressed; of several at once the first. None: nothing of ours."""
    return _MEANS.get(text) or _MEANS.get(text[:1] if not text.startswith("\x1b") else "")


class Keyboard:
    """Keys of a terminal in which each comes by itself; `number` is None without one."""

    def __init__(self, number: int | None) -> None:
        self._number = number

    def key(self, within_s: float) -> Press | None:
        """The next key of ours, waited for so long."""
        end_s = time.monotonic() + within_s
        while (left_s := end_s - time.monotonic()) > 0:
            if self._number is None:
                time.sleep(left_s)
                continue
            if not select.select([self._number], [], [], left_s)[0]:
                continue
            read = os.read(self._number, _AT_ONCE)
            if not read:  # the terminal is gone: nobody will press anything
                self._number = None
            elif found := meaning(read.decode(errors="replace")):
                return found
        return None


@contextmanager
def keyboard() -> Iterator[Keyboard]:
    """The standard input's, without echo and line by line no more; Ctrl-C stays a signal."""
    if not sys.stdin.isatty():
        yield Keyboard(None)
        return
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    tty.setcbreak(number)
    try:
        yield Keyboard(number)
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
