"""A plan as a person sees it: how many of what, why, some of the letters, and what to do next.
Called by the command line; decides nothing.

Ids of letters are shown whole, so that they can be copied.
"""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hlf_sync.core.plain_text import plain
from hlf_sync.core.plural import counted, needs
from hlf_sync.replay.judgement import ReplayVerdict
from hlf_sync.replay.plan_file import Plan, PlannedLetter

_COLOURS = {
    ReplayVerdict.DUE: "green",
    ReplayVerdict.SUPERSEDED: "dim",
    ReplayVerdict.DUPLICATE: "dim",
    ReplayVerdict.INVESTIGATE: "yellow",
}
# What a person must see to first.
_ORDER = (
    ReplayVerdict.INVESTIGATE,
    ReplayVerdict.DUE,
    ReplayVerdict.SUPERSEDED,
    ReplayVerdict.DUPLICATE,
)
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
            self._console.print(Text(line), soft_wrap=True)

    def _reasons(self, letters: Sequence[PlannedLetter]) -> None:
        found: dict[tuple[ReplayVerdict, str], list[str]] = {}
        for one in letters:
            found.setdefault((one.judgement.verdict, one.judgement.reason), []).append(
                one.letter.id
            )
        reasons = sorted(found.items(), key=lambda item: (_ORDER.index(item[0][0]), -len(item[1])))
        for (verdict, reason), ids in reasons[:_REASONS]:
            self._console.print(
                Text.assemble((verdict.value, _COLOURS[verdict]), f": {plain(reason)}")
            )
            for letter_id in ids[:_IDS]:
                self._console.print(Text(f"  {plain(letter_id)}"), soft_wrap=True)
            if len(ids) > _IDS:
                self._console.print(f"  … and {len(ids) - _IDS} more", style="dim", highlight=False)
        if len(reasons) > _REASONS:
            self._console.print(
                f"… and {len(reasons) - _REASONS} more reasons", style="dim", highlight=False
            )
        if len(letters) > _IDS:
            self._console.print("All letters are in the file, and shown by --json.", style="dim")
        self._console.print()


def _sums(plan: Plan) -> list[str]:
    if not plan.letters:
        lines = [
            f"No letter is open in {plan.topic}"
            + (" for these filters." if plan.filters else ": nothing to do.")
        ]
    else:
        count = plan.counts["due"]
        lines = [
            (
                f"{counted(len(plan.letters), 'letter')}; {count} due: {counted(plan.calls, 'call')} of"
                f" Dynamics, about {_duration(plan.seconds)}."
            )
        ]
    if plan.counts["investigate"]:
        lines.append(
            f"{plan.counts['investigate']} {needs(plan.counts['investigate'])} a person: `hlf-sync replay show ID` explains one."
            " Until they are resolved, the group's lag stays."
        )
    if plan.gone:
        some = ", ".join(map(plain, plan.gone[:_IDS])) + (", …" if len(plan.gone) > _IDS else "")
        lines.append(
            f"Open, and older than the topic, whose retention has passed them:"
            f" {counted(len(plan.gone), 'letter')}, {some}. `hlf-sync replay close ID… --reason TEXT`"
            " ends them, and has their mentors looked at once more."
        )
    return lines


def _groups(letters: Sequence[PlannedLetter]) -> Table:
    counts = Counter(
        (one.judgement.verdict, one.letter.kind_word, one.letter.error_code) for one in letters
    )
    calls: Counter[tuple[ReplayVerdict, str, str]] = Counter()
    for one in letters:
        calls[one.judgement.verdict, one.letter.kind_word, one.letter.error_code] += (
            one.judgement.calls
        )
    table = Table("verdict", "kind", "error", box=None, pad_edge=False, header_style="bold")
    table.add_column("letters", justify="right")
    table.add_column("calls", justify="right")
    order = list(ReplayVerdict)
    for group, count in sorted(
        counts.items(), key=lambda item: (order.index(item[0][0]), -item[1], item[0][1:])
    ):
        verdict, kind, code = group
        table.add_row(
            verdict.value,
            Text(plain(kind)),
            Text(plain(code)),
            str(count),
            str(calls[group]),
            style=_COLOURS[verdict],
        )
    return table


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:g} s"
