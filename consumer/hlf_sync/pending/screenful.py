"""Every mentor that is not at rest, a screen at a time: what `hlf-sync top` shows on the key `p`.

Pure. `paged` cuts the list into pages that fit, each cause's heading again on top of its next page;
`draw` gives one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.text import Text

from hlf_sync.core.open_update import Cause, Conditions
from hlf_sync.pending.open_mentors import OpenMentor
from hlf_sync.pending.table import LEGEND, has_unknown, table
from hlf_sync.pending.words import words

# The title, and the keys below.
_FRAME = 2
# A cause's heading of two lines and the names of the columns.
_HEADING = 3


@dataclass(frozen=True, slots=True)
class Section:
    """Some of the mentors of one cause, of whom there are `count` in all; `first` is the number of
    the first one here, from 1.
    """

    cause: Cause
    count: int
    first: int
    mentors: Sequence[OpenMentor]


def paged(found: Sequence[OpenMentor], height: int) -> list[list[Section]]:
    """The list, by cause in their order, in pages of so many lines; one empty page of nobody."""
    room = max(height - _FRAME, _HEADING + 1)
    pages: list[list[Section]] = [[]]
    left = room
    for cause in Cause:
        group = [one for one in found if one.update.cause is cause]
        start = 0
        while start < len(group):
            if left <= _HEADING:
                pages.append([])
                left = room
            some = group[start : start + left - _HEADING]
            pages[-1].append(Section(cause, len(group), start + 1, some))
            left -= _HEADING + len(some)
            start += len(some)
    return pages


def draw(
    pages: Sequence[Sequence[Section]], number: int, around: Conditions, keys: str
) -> RenderableType:
    """One page, from 0, with what can be pressed."""
    count = sum(len(part.mentors) for page in pages for part in page)
    who = f"{count:,} mentor{'' if count == 1 else 's'} not at rest" if count else "nobody is open"
    of = f", page {number + 1} of {len(pages)}" if len(pages) > 1 else ""
    title = Text.assemble((who, "bold"), f"{of}, as of {_clock(around.now_s)} UTC")
    is_told = any(has_unknown(part.mentors) for part in pages[number])
    return Group(
        title,
        *(line for part in pages[number] for line in _part(part, around)),
        Text(f"{keys}   {LEGEND.partition(':')[0]}" if is_told else keys, style="dim"),
    )


def _part(part: Section, around: Conditions) -> list[RenderableType]:
    means, advice = words(part.cause, around)
    last = part.first + len(part.mentors) - 1
    which = "" if len(part.mentors) == part.count else f" ({part.first:,} to {last:,})"
    return [
        Text.assemble(
            (f"{part.count:,} {part.cause.value}{which}", "bold"), f": {means}", no_wrap=True
        ),
        Text(f"  do: {advice}", no_wrap=True, overflow="ellipsis"),
        table(part.mentors, around.now_s),
    ]


def _clock(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%H:%M:%S}"
