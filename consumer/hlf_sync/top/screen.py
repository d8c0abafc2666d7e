"""The picture of the fleet on a terminal: the verdict and what to do first, figures below. Draws,
decides nothing; made for 80 columns and more. On a terminal of few lines the figures that explain
least are left out first, so that the verdict and what is new stay in sight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from hlf_sync.core.plural import counted
from hlf_sync.core.quantities import duration
from hlf_sync.top.headline import (
    NOBODY,
    Headline,
    Level,
    circuit_words,
    headlines,
    paused,
    wrongly_listed,
)
from hlf_sync.top.journal import Event
from hlf_sync.top.picture import AWAY, CaptureState, OpenDeadLetters, Picture, StageLatency

_STYLES: dict[Level, str] = {"good": "green", "watch": "yellow", "act": "bold red"}
_VERDICTS = {
    "ok": "green",
    "lagging": "yellow",
    "stalled": "yellow",
    "halted": "red",
    "stopped": "red",
    AWAY: "red",
}
_SPARKS = "▁▂▃▄▅▆▇█"
_LAG_CELL = 13
# Width of the names before the figures.
_LABEL = 14


@dataclass(frozen=True, slots=True)
class Room:
    """How many lines each list may have, the rest of it is told as a number; and which figures
    there is room for.
    """

    headlines: int = 4
    members: int = 8
    events: int = 6
    has_stages: bool = True
    has_bars: bool = True
    has_details: bool = True


_ROOMS = (
    Room(),
    Room(events=4, members=6),
    Room(events=4, members=4, has_bars=False),
    Room(events=4, members=4, has_bars=False, has_stages=False),
    Room(headlines=2, events=3, members=3, has_bars=False, has_stages=False),
    Room(headlines=1, events=4, members=3, has_bars=False, has_stages=False),
    Room(headlines=1, events=2, members=2, has_bars=False, has_stages=False),
    Room(headlines=1, events=2, members=2, has_bars=False, has_stages=False, has_details=False),
    Room(headlines=1, events=1, members=1, has_bars=False, has_stages=False, has_details=False),
)
"""From plenty to the least."""


@dataclass(frozen=True, slots=True)
class Past:
    """Earlier figures, oldest first, for the sparklines."""

    freshness_s: Sequence[float] = ()
    calls: Sequence[float] = ()
    lag: Sequence[float] = ()


def draw(
    picture: Picture,
    *,
    at_ms: int,
    past: Past = Past(),
    events: Sequence[Event] = (),
    width: int = 80,
    room: Room = Room(),
) -> RenderableType:
    """Everything that there is room for, top to bottom by importance."""
    parts: list[RenderableType] = [_verdict(picture, at_ms, room)]
    if picture.verdict != AWAY:
        parts += [_figures(picture, past, width, room), _lag(picture, width, room)]
    parts.append(_members(picture, room.members))
    if picture.stages and room.has_stages:
        parts.append(_stages(picture.stages))
    if picture.verdict != AWAY and room.has_details:
        parts.append(_calls(picture))
    if events:
        parts.append(_events(events, room.events))
    return Group(*parts)


def fitted(
    console: Console,
    height: int,
    picture: Picture,
    *,
    at_ms: int,
    past: Past = Past(),
    events: Sequence[Event] = (),
) -> RenderableType:
    """The richest picture that has no more than so many lines."""

    def drawn(room: Room) -> RenderableType:
        return draw(picture, at_ms=at_ms, past=past, events=events, width=console.width, room=room)

    fits = (room for room in _ROOMS if len(console.render_lines(drawn(room))) <= height)
    return drawn(next(fits, _ROOMS[-1]))


def _verdict(picture: Picture, at_ms: int, room: Room) -> Panel:
    lines, wrong = headlines(picture), wrongly_listed(picture)
    colour = _VERDICTS.get(picture.verdict, "yellow")
    if picture.verdict == "ok" and wrong != NOBODY:
        colour = "yellow"
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("wrongly listed", Text(wrong))
    for line in lines[: room.headlines]:
        _add_headline(grid, line)
    if len(lines) > room.headlines:
        grid.add_row("", f"and {len(lines) - room.headlines} more")
    return Panel(
        grid,
        title=Text(f" {picture.verdict.upper()} ", f"bold {colour}"),
        title_align="left",
        subtitle=Text(f"{_as_of(picture, at_ms)}{_clock(at_ms)} UTC", "dim"),
        subtitle_align="right",
        border_style=colour,
        box=box.HEAVY,
    )


def _as_of(picture: Picture, at_ms: int) -> str:
    """When the leader compared the listing last, which it does each ten seconds."""
    if picture.verdict == AWAY or picture.listing_age_s is None:
        return ""
    return f"listing as of {_clock(at_ms - int(picture.listing_age_s * 1000))}, now "


def _add_headline(grid: Table, line: Headline) -> None:
    grid.add_row("why", Text(line.why, style=_STYLES[line.level]))
    if line.do:
        grid.add_row("do", Text(line.do))
    if line.section:
        grid.add_row("", Text(f"docs/runbook.md, {line.section}", style="dim"))


def _figures(picture: Picture, past: Past, width: int, room: Room) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    circuit, queue = picture.circuit, picture.queue
    if circuit is not None:
        waiting = sum(picture.wrong.mentors.values()) if picture.wrong is not None else 0
        allowed = picture.pace.allowed if picture.pace is not None else None
        style = {"closed": "green", "half_open": "yellow"}.get(circuit.state, "bold red")
        grid.add_row("circuit", Text(circuit_words(circuit, waiting, allowed), style))
    of = " of what was read" if picture.is_cut else ", the oldest change in hand"
    fresh = duration(picture.freshness_s) + of
    grid.add_row("freshness", _with_spark(fresh, past.freshness_s, width))
    grid.add_row(
        "mentors",
        f"{queue.dirty:,} dirty, {queue.in_progress:,} in progress, {queue.waiting:,} waiting"
        f"   delivery {picture.delivery}",
    )
    if picture.pace is not None:
        pace = picture.pace
        of = f" of {pace.allowed:.1f}" if pace.allowed is not None else ""
        text = (
            f"{pace.calls:.1f}{of} calls/s, {pace.changes:,.1f} changes/s, {pace.evaluations:,.1f}"
            " looks/s"
        )
        grid.add_row("pace", _with_spark(text, past.calls, width))
    grid.add_row("dead letters", _letters(picture.letters))
    if picture.held_removals:
        grid.add_row(
            "held back",
            Text(
                f"{counted(picture.held_removals, 'removal')}, until somebody confirms them",
                style="red",
            ),
        )
    if any(picture.paused.values()):
        grid.add_row("paused", Text(paused(picture.paused), style="yellow"))
    if picture.source is not None and (room.has_details or not picture.source.is_well):
        grid.add_row("source", _source(picture.source))
    return grid


def _with_spark(text: str, values: Sequence[float], width: int) -> Text:
    """A figure, and how it went as far as there is room for it."""
    room = width - _LABEL - len(text) - 2
    return (
        Text.assemble(text, "  ", (sparkline(values[-room:]), "cyan")) if room > 0 else Text(text)
    )


def _letters(letters: OpenDeadLetters) -> Text:
    if letters.open is None:
        return Text("(the leader knows; none of these leads)", style="dim")
    oldest = (
        f", the oldest {duration(letters.oldest_s)} old" if letters.oldest_s is not None else ""
    )
    return Text(f"{letters.open:,} open{oldest}", style="red" if letters.open else "")


def _source(source: CaptureState) -> Text:
    both = (
        f"connector and task {source.task}"
        if source.task == source.connector
        else f"connector {source.connector}, task {source.task or 'none'}"
    )
    parts = [both] if source.connector else []
    parts += [f"slot {source.slot}"] if source.slot else []
    parts += (
        [f"heartbeat {duration(source.heartbeat_s)} ago"] if source.heartbeat_s is not None else []
    )
    return Text("   ".join(parts) or "(not known yet)", style="" if source.is_well else "red")


def _lag(picture: Picture, width: int, room: Room) -> RenderableType:
    total = sum(picture.lag.values())
    if picture.is_cut:
        return Text(
            f"lag not known; {counted(total, 'record')} when Kafka last answered", style="yellow"
        )
    head = f"lag {counted(total, 'record')} in {counted(len(picture.lag), 'partition')}"
    if picture.group_lag is not None and picture.group_lag != total:
        head += f"; {picture.group_lag:,} in the whole group"
    if not total or not room.has_bars:
        return Text(head, style="dim")
    most = max(picture.lag.values())
    per_row = max(1, (width - 2) // _LAG_CELL)
    grid = Table.grid(padding=(0, 1, 0, 0))
    cells = [
        _lag_cell(partition.rpartition("-")[2], records, most)
        for partition, records in picture.lag.items()
    ]
    for start in range(0, len(cells), per_row):
        grid.add_row(*cells[start : start + per_row])
    return Group(Text(head, style="dim"), grid)


def _lag_cell(partition: str, records: int, most: int) -> Text:
    bar = _SPARKS[round((len(_SPARKS) - 1) * records / most)] if records else " "
    return Text.assemble((f"{partition:>3} ", "dim"), (bar, "cyan"), f"{records:>{_LAG_CELL - 6},}")


def _members(picture: Picture, most: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("worker", "says"):
        table.add_column(title, no_wrap=title == "says", overflow="fold")
    for title in ("partitions", "lag", "freshness", "mentors"):
        table.add_column(title, justify="right", no_wrap=True)
    shown = sorted(picture.members, key=lambda member: member.verdict != AWAY)[:most]
    for member in [one for one in picture.members if one in shown]:
        name = member.name + (" (leader)" if member.is_leader else "")
        if member.verdict == AWAY:
            since = f"away for {duration(member.away_s)}" if member.away_s is not None else "away"
            table.add_row(name, Text(since, style="bold red"), "–", "–", "–", "–")
            continue
        table.add_row(
            name,
            Text(member.verdict, style=_VERDICTS.get(member.verdict, "yellow")),
            str(member.partitions),
            f"{member.lag:,}",
            duration(member.freshness_s),
            f"{member.mentors:,}",
        )
    if len(picture.members) > most:
        table.add_row(f"and {len(picture.members) - most} more", "", "", "", "", "")
    return table


def _stages(stages: Sequence[StageLatency]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("stage", no_wrap=True)
    for title in ("p50", "p99", "of"):
        table.add_column(title, justify="right", no_wrap=True)
    for stage in stages:
        table.add_row(stage.name, _quick(stage.p50_s), _quick(stage.p99_s), f"{stage.count:,}")
    return table


def _quick(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else duration(seconds)


def _calls(picture: Picture) -> Text:
    text = Text("calls  ", style="dim")
    if not any(picture.calls.values()):
        return text.append("none yet")
    for outcome, count in picture.calls.items():
        if count:
            text.append(f"{outcome} {count:,}   ", style="" if outcome == "ok" else "yellow")
    return text


def _events(events: Sequence[Event], most: int) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for event in list(events)[-most:]:
        grid.add_row(_clock(event.at_ms), Text(event.text, style=_STYLES[event.level]))
    return Group(Text("lately", style="dim"), grid)


def sparkline(values: Sequence[float]) -> str:
    """Figures as little bars, the highest of them as the full one; empty when there is nothing to
    see.
    """
    most = max(values, default=0.0)
    return (
        "".join(_SPARKS[round((len(_SPARKS) - 1) * value / most)] for value in values)
        if most > 0
        else ""
    )


def _clock(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%H:%M:%S}"
