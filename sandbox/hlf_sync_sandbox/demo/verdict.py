"""The end: is every mentor's CRM value what the facts say, how fresh was it, what did collapsing
save. Called by `production`.

The expectation comes from the application's own tables (`application.expected`), not from the
worker's decisions.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hlf_sync_sandbox.demo.application import Expectation
from hlf_sync_sandbox.demo.storms import Collapse, Sample
from hlf_sync_sandbox.dynamics.columns import VISIBILITY_COLUMN


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the demo found. `wrong` names mentors of ours, `touched` those of others that were
    written to.
    """

    ours: int
    others: int
    wrong: tuple[str, ...]
    touched: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Whether the promise held for everybody."""
        return not self.wrong and not self.touched and self.ours > 0


def compare(
    expected: Iterable[Expectation],
    shown: dict[str, bool | None],
    journal: Iterable[dict[str, Any]],
) -> Verdict:
    """Hold every mentor's contact against the facts."""
    everybody = list(expected)
    ours = [one for one in everybody if one.is_ours]
    others = [one for one in everybody if not one.is_ours]
    called = {entry["contact_id"] for entry in journal}
    wrong = tuple(
        one.mentor_id
        for one in ours
        if one.contact_id is None or shown.get(one.contact_id) is not one.is_shown
    )
    return Verdict(
        len(ours),
        len(others),
        wrong,
        tuple(one.mentor_id for one in others if one.contact_id in called),
    )


def freshness_ms(samples: Iterable[Sample], journal: Sequence[dict[str, Any]]) -> list[float]:
    """For each change, the time from its commit until Dynamics applied it; sorted."""
    found = []
    for sample in samples:
        applied = [
            entry["applied_ms"] - sample.committed_ms
            for entry in journal
            if entry["contact_id"] == sample.contact_id
            and entry["applied_ms"] is not None
            and entry["applied_ms"]
            >= sample.committed_ms - 1  # the journal counts whole milliseconds
            and (entry["columns"] or {}).get(VISIBILITY_COLUMN) is sample.is_shown
        ]
        if applied:
            found.append(max(0.0, min(applied)))
    return sorted(found)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of sorted values."""
    return values[min(len(values) - 1, max(0, -(-len(values) * int(share * 100) // 100) - 1))]


def lines(
    verdict: Verdict, fresh: Sequence[float], collapse: Collapse, totals: dict[str, int]
) -> list[str]:
    """What is printed."""
    saved = collapse.changes - collapse.calls
    equal = (
        f"{verdict.ours - len(verdict.wrong):,} of {verdict.ours:,} HLF mentors equal in PostgreSQL"
        " and Dynamics"
    )
    others = (
        f"{len(verdict.touched)} of {verdict.others:,} mentors of another organisation were"
        " called for"
    )
    return [
        f"compared      {equal}; {others}",
        (
            f"freshness     commit → Dynamics: p50 {percentile(fresh, 0.5):.0f} ms, p99"
            f" {percentile(fresh, 0.99):.0f} ms ({len(fresh)} changes)"
            if fresh
            else "freshness     not measured"
        ),
        (
            f"collapse      burst of {collapse.changes:,} changes: {collapse.evaluations:,}"
            f" evaluations, {collapse.calls:,} calls; {saved:,} calls saved"
        ),
        (
            f"whole story   {totals['changes']:,} changes, {totals['evaluations']:,} evaluations,"
            f" {totals['calls']:,} calls"
        ),
    ]
