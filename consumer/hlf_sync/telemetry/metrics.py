"""The values of the metrics of one process, and their page. Counts with the pipeline's `Meter`;
gauges are set by the status page at each scrape.

Shows exactly what metric_table lists, every known label value from the start. Everything happens on
the event loop, so nothing is locked: an observation costs half a microsecond, and there may be some
per change.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from hlf_sync.core.model import LetterKind, Operation
from hlf_sync.telemetry import metric_table as table
from hlf_sync.telemetry.metric_table import By, Kind, Metric

Series = dict[tuple[str, ...], float]


class Distribution:
    """A histogram's counts."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value; one below 0 (clocks that differ) as 0."""
        value = max(value, 0.0)
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Prometheus' form: how many at or below each bound."""
        bounds = [f"{bound:g}" for bound in self.bounds] + ["+Inf"]
        return list(zip(bounds, accumulate(self.counts), strict=True))


class Metrics(Collector):
    """All metrics of one process, in a registry of their own."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._series: dict[Metric, Series] = {
            metric: _start(metric) for metric in table.TABLE if metric.kind is not Kind.HISTOGRAM
        }
        self._distributions: dict[Metric, dict[tuple[str, ...], Distribution]] = {
            metric: {labels: Distribution(metric.buckets) for labels in metric.combinations()}
            for metric in table.TABLE
            if metric.kind is Kind.HISTOGRAM
        }
        self._stages = {
            labels[0]: kept.observe
            for labels, kept in self._distributions[table.STAGE_SECONDS].items()
        }
        self._seconds = self._distributions[table.REQUEST_SECONDS][()].observe
        self._reflected = self._distributions[table.REFLECTED][()].observe
        self._changes, self._evaluations = (
            self._series[table.CHANGES],
            self._series[table.EVALUATIONS],
        )
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def page(self) -> bytes:
        """The exposition, text format 0.0.4."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Family]:
        """What prometheus_client asks a collector."""
        for metric in table.TABLE:
            if metric.kind is Kind.HISTOGRAM:
                yield _histogram(metric, self._distributions[metric])
            else:
                yield _family(metric, self._series[metric])

    def show(self, metric: Metric, value: float, *labels: str) -> None:
        """A gauge's value, or a counter's that is kept elsewhere."""
        self._series[metric][labels] = value

    def show_all(self, metric: Metric, series: Series) -> None:
        """These and no others: what is missing vanishes from the page."""
        self._series[metric] = dict(series)

    def show_one(self, metric: Metric, current: Iterable[str]) -> None:
        """Of a metric of states: 1 for those that hold, 0 for the rest. For metrics with one
        label.
        """
        held = set(current)
        self._series[metric] = {
            labels: float(labels[0] in held) for labels in metric.combinations()
        }

    def changes(self, outcome: str, count: int) -> None:
        """Changes that ended."""
        self._changes[outcome,] += count

    def evaluated(self, count: int) -> None:
        """Mentors whose facts were read and decided on."""
        self._evaluations[()] += count

    def called(self, operation: Operation, outcome: str, seconds: float) -> None:
        """A call was answered."""
        self._series[table.REQUESTS][operation.value, outcome] += 1
        self._seconds(seconds)

    def reflected(self, committed_ms: int) -> None:
        """A delivery succeeded."""
        self._reflected((self._now_ms() - committed_ms) / 1000)

    def staged(self, stage: str, seconds: float) -> None:
        """A stage of the way is over."""
        self._stages[stage](seconds)

    def taken_in(self, committed_ms: int, kafka_ms: int) -> None:
        """A change was decoded."""
        self._stages["kafka"]((kafka_ms - committed_ms) / 1000)
        self._stages["decoded"]((self._now_ms() - kafka_ms) / 1000)

    def lettered(self, kind: LetterKind) -> None:
        """A dead letter was acknowledged."""
        self._series[table.LETTERS][kind.value,] += 1

    def lost_lease(self) -> None:
        """An outcome was not recorded."""
        self._series[table.LEASES_LOST][()] += 1

    def unseen_for_ever(self) -> None:
        """A transaction was given up on."""
        self._series[table.UNSEEN][()] += 1

    def rebalanced(self, kind: str) -> None:
        """The assignment changed."""
        self._series[table.REBALANCES][kind,] += 1

    def paused(self) -> None:
        """Fetching was paused."""
        self._series[table.PAUSES][()] += 1

    def swept(self, reason: str) -> None:
        """Everybody is looked at."""
        self._series[table.SWEEPS][reason,] += 1

    def distrusted(self, cause: str) -> None:
        """Everybody was put in doubt."""
        self._series[table.DISTRUSTS][cause,] += 1


def _start(metric: Metric) -> Series:
    """Every known combination at 0; what only the leader says, or is known later, is absent at
    first.
    """
    if metric.by is By.LEADER:
        return {}
    return dict.fromkeys(metric.combinations(), 0.0)


def _family(metric: Metric, series: Series) -> Family:
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = kind(
        metric.full_name.removesuffix("_total"), metric.meaning, labels=list(metric.labels)
    )
    for labels, value in series.items():
        family.add_metric(list(labels), value)
    return family


def _histogram(metric: Metric, kept: dict[tuple[str, ...], Distribution]) -> Family:
    family = HistogramMetricFamily(metric.full_name, metric.meaning, labels=list(metric.labels))
    for labels, distribution in kept.items():
        family.add_metric(list(labels), distribution.cumulative(), distribution.total)
    return family
