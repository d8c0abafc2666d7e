"""What a person sees while the sandbox comes up: bars and a live table on a terminal, one plain
line per event elsewhere.

Called by `hlf_sync_sandbox.stack` and `hlf_sync_sandbox.download`. Writes to standard error only,
so that standard output stays for `--json`.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

_STYLES = {
    "waiting": "dim",
    "checking": "yellow",
    "starting": "yellow",
    "running": "green",
    "failed": "bold red",
}


class Screen:
    """Thread-safe: each part reports from its own thread."""

    def __init__(self, console: Console | None = None, *, quiet: bool = False) -> None:
        self._console = console or Console(stderr=True)
        self._quiet = quiet
        self._lock = threading.Lock()
        self._rows: dict[str, tuple[str, str]] = {}
        self._live: Live | None = None
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """One line."""
        if not self._quiet:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def part(self, name: str, state: str, note: str = "") -> None:
        """A part's new state: waiting, checking (it ran before), starting, running or failed."""
        with self._lock:
            self._rows[name] = (state, note)
            if self._live:
                self._live.update(self._table())
        if not self._live and state != "waiting":
            self.say(
                f"{time.monotonic() - self._began:5.1f} s  {name:<10}"
                f" {state}{f': {note}' if note else ''}"
            )

    @contextmanager
    def parts(self) -> Iterator[None]:
        """Show the parts while they start."""
        self._began = time.monotonic()
        self._rows.clear()
        if self._quiet or not self._console.is_terminal:
            yield
            return
        with Live(self._table(), console=self._console, refresh_per_second=8) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for name, (state, note) in self._rows.items():
            table.add_row(name, f"[{_STYLES[state]}]{state}[/]", f"[dim]{note}[/]")
        return table

    @contextmanager
    def download(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """Progress in bytes. The yielded function takes what was added (negative: a try begins
        again).
        """
        if self._quiet or not self._console.is_terminal:
            yield self._plain_download(title, total)
            return
        # The title in a line of its own: beside the figures it would break the bar on 80 columns.
        self.say(f"downloading {title}")
        columns = (
            BarColumn(bar_width=None),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=self._console, expand=True) as progress:
            task = progress.add_task("", total=total)
            yield lambda size: progress.advance(task, size)

    def _plain_download(self, title: str, total: int) -> Callable[[int], None]:
        self.say(f"downloading {title} ({total / 1e6:.0f} MB)")
        done, told = 0, 0

        def advance(size: int) -> None:
            nonlocal done, told
            with self._lock:
                done += size
                tenth = done * 10 // total
                if tenth <= told:
                    return
                told = tenth
            self.say(f"downloaded {tenth * 10} % of {total / 1e6:.0f} MB")

        return advance
