"""What the leader knows of Dynamics' listing: as of when it equals the facts, and what the newest
pass found. Told by the leader's verification (worker/verification); shown by `scrape` and
`/status`. Asks nobody.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hlf_sync.telemetry import metric_table as table
from hlf_sync.telemetry.metrics import Metrics

_KINDS = table.LISTING_DIFFERENCES.labels["kind"] or ()


@dataclass(frozen=True, slots=True)
class ListingSight:
    """`as_of_s`, monotonic, is when the newest finished pass began that found all equal; before the
    first one when a leader first counted from. `counts` are listing_pass.counts, None before the
    first pass. `drifting`: how many passes in a row found drift.
    """

    as_of_s: float
    counts: Mapping[str, int] | None = None
    drifting: int = 0


@dataclass(slots=True, kw_only=True)
class VerifiedListing:
    """One worker's; `sight` is None in all but the leader. `every_s` is 0 where nothing is
    verified.
    """

    every_s: float = 0.0
    now_s: Callable[[], float] = lambda: 0.0
    sight: ListingSight | None = None
    trouble: str | None = field(default=None)

    @property
    def age_s(self) -> float | None:
        """How old the facts are that the listing is known to equal."""
        return None if self.sight is None else max(0.0, self.now_s() - self.sight.as_of_s)

    def content(self) -> dict[str, Any] | None:
        """For /status; None at the others."""
        if self.sight is None or self.age_s is None:
            return None
        return {
            "equals_the_facts_as_of_s": round(self.age_s),
            "every_s": self.every_s,
            "drifting_passes": self.sight.drifting,
            "found": None if self.sight.counts is None else dict(self.sight.counts),
            "waits": self.trouble,
        }

    def show(self, metrics: Metrics) -> None:
        """Set the gauges; absent where there is no sight."""
        age_s, sight = self.age_s, self.sight
        metrics.show_all(table.LISTING_AGE, {} if age_s is None else {(): age_s})
        metrics.show_all(table.LISTING_PERIOD, {} if sight is None else {(): self.every_s})
        counts = None if sight is None else sight.counts
        metrics.show_all(
            table.LISTING_DRIFTING,
            {} if sight is None or counts is None else {(): float(sight.drifting)},
        )
        metrics.show_all(
            table.LISTING_DIFFERENCES,
            {} if counts is None else {(kind,): float(counts.get(kind, 0)) for kind in _KINDS},
        )
