"""Some mentors of one cause as a table of 80 columns: `hlf-sync pending` and the key `p` of `top`. Draws."""

from collections.abc import Sequence

from rich.table import Table

from hlf_sync.pending.open_mentors import OpenMentor
from hlf_sync.pending.words import lasting, listing

LEGEND = "? is not known: nothing delivered yet, or a call whose effect is not known"


def table(mentors: Sequence[OpenMentor], now_s: float) -> Table:
    """What a figure cannot do without is never cut; an error code may be. Who was given up is told by
    the dead letter's id, which begins with the mentor's, and has no next try.
    """
    is_given_up = any(one.letter_id for one in mentors)
    found = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
    found.add_column("dead letter" if is_given_up else "mentor", min_width=36, no_wrap=True)
    found.add_column("listing", min_width=14, no_wrap=True)
    found.add_column("for", min_width=5, no_wrap=True, justify="right")
    if not is_given_up:
        found.add_column("next", min_width=4, no_wrap=True, justify="right")
    found.add_column("error", no_wrap=True, overflow="ellipsis")
    for one in mentors:
        update = one.update
        next_try = "" if update.next_try_s is None else lasting(update.next_try_s - now_s)
        found.add_row(
            _name(one),
            listing(update),
            "?" if update.since_s is None else lasting(now_s - update.since_s),
            *([] if is_given_up else [next_try]),
            one.error_code or "",
        )
    return found


def has_unknown(mentors: Sequence[OpenMentor]) -> bool:
    """Whether the legend is needed."""
    return any("?" in listing(one.update) or one.update.since_s is None for one in mentors)


def _name(one: OpenMentor) -> str:
    is_told = one.letter_id is not None and one.letter_id.startswith(one.mentor_id)
    return one.letter_id or "" if is_told else one.mentor_id
