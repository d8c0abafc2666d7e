"""A run as a person sees it: a progress bar in a terminal, else a few lines. Called by apply and
watch; decides nothing.
"""

from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from hlf_sync.core.plain_text import plain
from hlf_sync.core.plural import counted


class Bar:
    """A run in a terminal: a bar with the time it still takes."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.fields[stage]:>12}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]}"),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(compact=True),
        )
        self._progress = Progress(*columns, console=console, expand=True)
        self._task: TaskID | None = None
        self._before = 0
        self._said = ""

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last picture."""
        self._progress.stop()

    def begin(self, total: int, ended_before: int) -> None:
        """A run over so many letters."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._before = ended_before
        self._task = self._progress.add_task(
            "", total=total, completed=ended_before, stage="", failed=""
        )

    def show(self, *, ended: int, asked: int, failed: int, stage: str) -> None:
        """Where it stands."""
        if self._task is not None:
            under_way = f"{asked - ended} under way" + (
                f", [red]{failed} failed[/red]" if failed else ""
            )
            self._progress.update(
                self._task, completed=self._before + ended, stage=stage, failed=under_way
            )

    def say(self, line: str) -> None:
        """A line above the bar."""
        if line != self._said:
            self._said = line
            self._progress.console.print(Text(plain(line), "yellow"), soft_wrap=True)


class Lines:
    """A run without a terminal: a line per stage, and per tenth of the way."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = ""
        self._told: tuple[str, int] = ("", -1)
        self._total = self._before = 0

    def __enter__(self) -> Self:
        """Nothing to begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def begin(self, total: int, ended_before: int) -> None:
        """A run over so many letters."""
        self._total, self._before = total, ended_before
        self.say(
            counted(total, "letter")
            + (f", {ended_before} of them ended before" if ended_before else "")
        )

    def show(self, *, ended: int, asked: int, failed: int, stage: str) -> None:
        """Where it stands."""
        done = self._before + ended
        told = (stage, 10 * done // max(self._total, 1))
        if told != self._told and asked:
            self._told = told
            self.say(
                f"{stage}: {done} of {counted(self._total, 'letter')} ended, {asked - ended} under way"
                + (f", {failed} failed again" if failed else "")
            )

    def say(self, line: str) -> None:
        """A line."""
        if line != self._said:
            self._said = line
            self._console.print(Text(plain(line)), soft_wrap=True)


def view_for(console: Console) -> Bar | Lines:
    """A bar where there is a terminal."""
    return Bar(console) if console.is_terminal else Lines(console)
