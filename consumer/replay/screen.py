"""What a person sees of the replay: a plan as tables, a run as a progress bar or as lines, a letter explained. Called by the command line.

Decides nothing. Ids of letters are shown whole, so that they can be copied.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from consumer.core.replay import ReplayVerdict
from consumer.replay.inspection import Explained
from consumer.replay.plan_file import Plan, PlannedLetter

_COLOURS = {
    ReplayVerdict.DUE: "green",
    ReplayVerdict.SUPERSEDED: "dim",
    ReplayVerdict.DUPLICATE: "dim",
    ReplayVerdict.INVESTIGATE: "yellow",
}
# What a person must see to first.
_ORDER = (ReplayVerdict.INVESTIGATE, ReplayVerdict.DUE, ReplayVerdict.SUPERSEDED, ReplayVerdict.DUPLICATE)
# Enough to know them by, without filling the screen.
_REASONS = 12
_IDS = 3


class PlanPage:
    """A plan for people."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, plan: Plan) -> None:
        """Groups, each with its reason and some of its letters; the sum, and what to do next."""
        if plan.letters:
            self._console.print(_groups(plan.letters))
            self._console.print()
            self._reasons(plan.letters)
        for line in _sums(plan):
            self._console.print(line, highlight=False, soft_wrap=True)

    def _reasons(self, letters: Sequence[PlannedLetter]) -> None:
        found: dict[tuple[ReplayVerdict, str], list[str]] = {}
        for one in letters:
            found.setdefault((one.judgement.verdict, one.judgement.reason), []).append(one.letter.id)
        reasons = sorted(found.items(), key=lambda item: (_ORDER.index(item[0][0]), -len(item[1])))
        for (verdict, reason), ids in reasons[:_REASONS]:
            self._console.print(Text.assemble((verdict.value, _COLOURS[verdict]), f": {reason}"))
            for letter_id in ids[:_IDS]:
                self._console.print(f"  {letter_id}", markup=False, highlight=False, soft_wrap=True)
            if len(ids) > _IDS:
                self._console.print(f"  … and {len(ids) - _IDS} more", style="dim", highlight=False)
        if len(reasons) > _REASONS:
            self._console.print(f"… and {len(reasons) - _REASONS} more reasons", style="dim", highlight=False)
        if len(letters) > _IDS:
            self._console.print("All letters are in the file, and shown by --json.", style="dim")
        self._console.print()


def _sums(plan: Plan) -> list[str]:
    if not plan.letters:
        lines = [f"No letter is open in {plan.topic}" + (" for these filters." if plan.filters else ": nothing to do.")]
    else:
        count = plan.counts["due"]
        lines = [f"{len(plan.letters)} letters; [bold]{count} due[/bold]: {plan.calls} calls of Dynamics, about {_duration(plan.seconds)}."]
    if plan.counts["investigate"]:
        lines.append(
            f"{plan.counts['investigate']} need a person: `hlf-sync replay show ID` explains one. Until they are resolved, the group's lag stays."
        )
    if plan.unlettered:
        lines.append(
            f"{plan.unlettered} mentors are dead-lettered whose letters are gone from the topic: `hlf-sync sweep` asks for them (and for all others)."
        )
    return lines


def _groups(letters: Sequence[PlannedLetter]) -> Table:
    counts = Counter((one.judgement.verdict, one.letter.kind_word, one.letter.error_code) for one in letters)
    calls: Counter[tuple[ReplayVerdict, str, str]] = Counter()
    for one in letters:
        calls[one.judgement.verdict, one.letter.kind_word, one.letter.error_code] += one.judgement.calls
    table = Table("verdict", "kind", "error", box=None, pad_edge=False, header_style="bold")
    table.add_column("letters", justify="right")
    table.add_column("calls", justify="right")
    order = list(ReplayVerdict)
    for group, count in sorted(counts.items(), key=lambda item: (order.index(item[0][0]), -item[1], item[0][1:])):
        verdict, kind, code = group
        table.add_row(verdict.value, kind, escape(code), str(count), str(calls[group]), style=_COLOURS[verdict])
    return table


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
        self._task = self._progress.add_task("", total=total, completed=ended_before, stage="", failed="")

    def show(self, *, ended: int, asked: int, failed: int, stage: str) -> None:
        """Where it stands."""
        if self._task is not None:
            under_way = f"{asked - ended} under way" + (f", [red]{failed} failed[/red]" if failed else "")
            self._progress.update(self._task, completed=self._before + ended, stage=stage, failed=under_way)

    def say(self, line: str) -> None:
        """A line above the bar."""
        if line != self._said:
            self._said = line
            self._progress.console.print(f"[yellow]{escape(line)}[/yellow]", highlight=False, soft_wrap=True)


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
        self.say(f"{total} letters" + (f", {ended_before} of them ended before" if ended_before else ""))

    def show(self, *, ended: int, asked: int, failed: int, stage: str) -> None:
        """Where it stands."""
        done = self._before + ended
        told = (stage, 10 * done // max(self._total, 1))
        if told != self._told and asked:
            self._told = told
            self.say(f"{stage}: {done} of {self._total} letters ended, {asked - ended} under way" + (f", {failed} failed again" if failed else ""))

    def say(self, line: str) -> None:
        """A line."""
        if line != self._said:
            self._said = line
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def view_for(console: Console) -> Bar | Lines:
    """A bar where there is a terminal."""
    return Bar(console) if console.is_terminal else Lines(console)


def letter_page(found: Explained) -> Table:
    """One letter for people: name and value in two columns."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _letter_rows(found):
        table.add_row(name, escape(value))
    return table


def _letter_rows(found: Explained) -> list[tuple[str, str]]:
    letter, judged, whole = found.letter, found.judged, found.whole
    rows = [("letter", letter.id), ("verdict", f"{judged.judgement.verdict.value}: {judged.judgement.reason}")]
    rows += [("mentor", letter.mentor_id)] if letter.mentor_id else []
    rows += [("what", f"{letter.kind_word}, {letter.error_code}"), ("lies at", f"partition {letter.partition}, offset {letter.offset}")]
    if whole is not None:
        source = whole.source
        rows += [
            ("why", whole.reason),
            ("written", f"{moment(whole.created_at_ms)} by {whole.worker}"),
            ("attempts", f"{whole.attempt_count}" + (f", last answer {whole.http_status}" if whole.http_status else "")),
            ("about", f"{source.topic}, partition {source.partition}, offset {source.offset}, of {moment(source.timestamp_ms)}"),
        ]
        rows += [("then", f"{whole.operation.value}, because of {whole.triggered_by.value}")] if whole.operation and whole.triggered_by else []
    if judged.standing is not None and judged.standing.ledger.state is not None:
        ledger = judged.standing.ledger
        shown = ledger.applied.value if ledger.applied else "unknown"
        rows.append(
            ("ledger", f"{judged.standing.ledger.state}, listing {shown}, generation {ledger.generation}, letter {ledger.dead_letter_id or 'none'}")
        )
    if found.failure is not None:
        rows.append(("failure", f"since {found.failure['attempted_at']}, resolved {found.failure['resolved_at'] or 'not yet'}"))
    rows += [("asked for", f"{one['created_at']} by {one['requested_by']}: {one['reason']}") for one in found.requests]
    rows += [("record", _record_line(found.record))] if found.record is not None else []
    if found.record is not None and found.record["found"]:
        rows += [("framing", found.record["framing"])]
        rows += [("schema", str(found.record["schema"]))] if found.record["schema"] else []
        rows += [("today", found.record["now"])]
        rows += [("names", found.record["mentor_id"])] if found.record.get("mentor_id") else []
    if judged.judgement.verdict is ReplayVerdict.INVESTIGATE and letter.generation is None:
        rows.append(("next", _CLOSING_ADVICE))
    return rows


_CLOSING_ADVICE = (
    "find out who wrote it and whose it was; `hlf-sync force MENTOR`, or `hlf-sync sweep` where nobody can tell; "
    "then `hlf-sync replay close ID --reason TEXT`"
)


def _record_line(record: dict[str, Any]) -> str:
    if not record["found"]:
        return str(record["why"])
    is_same = {True: "the bytes that the letter saw", False: "OTHER bytes than the letter saw", None: "no hash to compare"}[record["is_same"]]
    return f"key of {_bytes(record['key_bytes'])}, value of {_bytes(record['value_bytes'])}; {is_same}"


def _bytes(count: int | None) -> str:
    return "none" if count is None else f"{count} bytes"


def moment(epoch_ms: int) -> str:
    """A record's time for people."""
    try:
        return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{epoch_ms} ms"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:g} s"
