"""A worker's /metrics page as numbers that can be asked for by name and labels.

Called by `look`. Knows Prometheus' text format and no metric of ours; an absent metric is 0 or
empty, as an older worker may not have it.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from hlf_sync.telemetry.exposition import Samples, read_samples


@dataclass(frozen=True, slots=True)
class Page:
    """All samples of one scrape."""

    samples: Samples = field(default_factory=dict)

    def total(self, name: str, **labels: str) -> float:
        """The sum over all samples with these labels."""
        return sum(
            value for found, value in self.samples.get(name, ()) if labels.items() <= found.items()
        )

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """The sums per value of one label over all samples with these others, in the
        page's order.
        """
        sums: dict[str, float] = defaultdict(float)
        for found, value in self.samples.get(name, ()):
            if label in found and labels.items() <= found.items():
                sums[found[label]] += value
        return dict(sums)

    def has(self, name: str) -> bool:
        """Whether the worker has such a metric at all."""
        return name in self.samples

    def buckets(self, name: str, **labels: str) -> dict[float, float]:
        """A histogram's cumulative counts by upper bound, summed over all samples with these
        labels.
        """
        sums: dict[float, float] = defaultdict(float)
        for found, value in self.samples.get(f"{name}_bucket", ()):
            if labels.items() <= found.items():
                sums[float(found["le"])] += value
        return dict(sorted(sums.items()))


def parse(text: str) -> Page:
    """Read a page; raises ValueError when it is none."""
    return Page(read_samples(text))


def quantile(buckets: Mapping[float, float], part: float) -> float | None:
    """Where `part` (0 to 1) of the observations lie below, as Prometheus' histogram_quantile
    estimates it; None without observations.
    """
    count = max(buckets.values(), default=0.0)
    if not count:
        return None
    rank, below, lower = part * count, 0.0, 0.0
    for upper, upto in buckets.items():
        if upto >= rank:
            if math.isinf(upper):
                return lower
            return lower + (upper - lower) * (
                (rank - below) / (upto - below) if upto > below else 0.0
            )
        below, lower = upto, upper
    return lower


def grown(now: Mapping[float, float], before: Mapping[float, float]) -> dict[float, float]:
    """A histogram's counts since an earlier look; everything when the worker has started anew
    meanwhile.
    """
    if any(upto < before.get(bound, 0.0) for bound, upto in now.items()):
        return dict(now)
    return {bound: upto - before.get(bound, 0.0) for bound, upto in now.items()}
