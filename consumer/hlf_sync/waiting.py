"""Waiting for a part that is away while a command starts: says so, tries again, gives up at a
deadline. Used by the source-side commands.

Must not decide what 'away' is: whoever asks raises `DependencyError`, and the last one is what the
command ends with (exit 4).
"""

import time
from collections.abc import Callable
from typing import TypeVar

from hlf_sync.errors import DependencyError

T = TypeVar("T")
Say = Callable[[str], None]

_FIRST_PAUSE_S = 0.25
# Long enough not to hammer a part that is starting, short enough that a person does not wait for
# our pause.
_LONGEST_PAUSE_S = 2.0


def until_reachable(attempt: Callable[[], T], *, deadline_s: float, say: Say) -> T:
    """The answer of `attempt`, repeated while it raises `DependencyError` and `deadline_s` seconds
    have not passed.
    """
    give_up_at = time.monotonic() + deadline_s
    pause_s, said = _FIRST_PAUSE_S, ""
    while True:
        try:
            return attempt()
        except DependencyError as error:
            left_s = give_up_at - time.monotonic()
            if left_s <= 0:
                raise
            if str(error) != said:
                said = str(error)
                say(f"{said}; waiting up to {left_s:.0f} s")
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
