"""What a person sees: a live table on a terminal, one plain line per event elsewhere. Called by the
story; decides how, never what.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from hlf_sync_sandbox.demo.sight import Line, Sight

_DECISION, _CRM = 23, 7
_CIRCUITS = {"closed": "green", "half_open": "yellow", "open": "bold red"}


class View:
    """Writes to standard output."""

    def __init__(self, console: Console, *, is_plain: bool) -> None:
        self._console = console
        self._is_plain = is_plain
        self._began_s = time.monotonic()
        self._scene = ""

    @property
    def elapsed_s(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._began_s

    def scene(self, text: str) -> None:
        """A new scene begins."""
        self._scene = text
        self._print(f"{self.elapsed_s:5.1f} s  ▶ ", text, "bold")

    def say(self, text: str, style: str = "") -> None:
        """Something happened in it."""
        self._print("         ", text, style)

    def _print(self, head: str, text: str, style: str) -> None:
        """A line for a log is one line; on a terminal it is wrapped at words, below itself. An address
        that is longer than a line must stay whole, for whoever copies it.
        """
        room = self._console.width - len(head)
        if self._is_plain or any(len(word) > room for word in text.split()):
            self._console.print(Text(head + text, style=style), soft_wrap=True)
            return
        grid = Table.grid()
        grid.add_column(no_wrap=True)
        grid.add_column()
        grid.add_row(Text(head, style=style), Text(text, style=style))
        self._console.print(grid)

    @contextmanager
    def live(self, look: Callable[[], Sight]) -> Iterator[None]:
        """Show the protagonists while the story is told."""
        if self._is_plain:
            yield
            return
        with Live(
            get_renderable=lambda: self._picture(look()),
            console=self._console,
            refresh_per_second=5,
        ):
            yield

    def roll(self, sight: Sight) -> None:
        """The protagonists once, for logs."""
        if self._is_plain:
            for line in sight.lines:
                self.say(
                    f"{line.role:<19} {line.row:<13} → {line.certificate:<11} → {line.decision:<25}"
                    f" → {_crm(line)}"
                )

    def _picture(self, sight: Sight) -> RenderableType:
        return Group(
            Rule(self._scene, style="dim"),
            _cast(sight),
            _worker(sight.status),
            Text(f"{self.elapsed_s:5.1f} s", style="dim"),
        )


def _cast(sight: Sight) -> Table:
    # 80 columns hold the widest of each; on a narrower screen the decision gives way, never the CRM.
    table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    for title in ("mentor", "status", "certificate"):
        table.add_column(title, no_wrap=True)
    table.add_column("decision", no_wrap=True, overflow="ellipsis", max_width=_DECISION)
    table.add_column("CRM", no_wrap=True, min_width=_CRM)
    table.show_header = True
    table.header_style = "dim"
    for line in sight.lines:
        style = {True: "green", False: "red", None: "dim"}[line.crm]
        table.add_row(
            line.role, line.row, line.certificate, line.decision, Text(_crm(line), style=style)
        )
    return table


def _crm(line: Line) -> str:
    return {True: "shown", False: "hidden", None: "not set"}[line.crm]


def _worker(status: dict[str, Any]) -> Text:
    if not status:
        return Text("the worker starts …", style="yellow")
    circuit, queue = status["circuit"], status["queue"]
    text = Text("circuit ", style="dim")
    text.append(circuit["state"], style=_CIRCUITS[circuit["state"]])
    text.append(f"   lag {sum(status['lag'].values())}   freshness {status['freshness_s']:.1f} s")
    text.append(
        f"   queue {queue['dirty']} dirty, {queue['in_progress']} in progress, {queue['waiting']}"
        " waiting"
    )
    text.append(f"   dead letters {status['dead_letters_open']}")
    return text
