"""The web service's own metrics, `hlf_sync_web_…`, at its /metrics; what they mean is the table's word
(telemetry/web_metric_table). No subject, mentor or path of a caller's making is ever a label.
"""

from collections import Counter
from collections.abc import Mapping

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest

from hlf_sync.telemetry import web_metric_table as table
from hlf_sync.telemetry.metric_table import Metric


class Numbers:
    """What is counted."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter(table.REQUESTS)
        self._refused = self._counter(table.REFUSED)
        self._cut = self._counter(table.CUT)
        self._streams = self._gauge(table.STREAMS)
        self._away = self._gauge(table.AWAY)
        self._open = self._gauge(table.OPEN)
        self._seconds = Histogram(
            table.SECONDS.full_name,
            table.SECONDS.meaning,
            buckets=table.SECONDS.buckets,
            registry=self._registry,
        )
        self._open_streams: Counter[str] = Counter()

    def refused(self, reason: str) -> None:
        """A caller was not let in."""
        self._refused.labels(reason).inc()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """An answer was given."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.observe(seconds)

    def streams(self, subject: str, change: int) -> None:
        """A stream of this caller began or ended."""
        self._open_streams[subject] += change
        if not self._open_streams[subject]:
            del self._open_streams[subject]
        self._streams.set(self._open_streams.total())

    def open_streams(self, subject: str | None = None) -> int:
        """How many are open, of all or of one caller."""
        if subject is None:
            return self._open_streams.total()
        return self._open_streams[subject]

    def saw(self, *, is_away: bool, counts: Mapping[str, int]) -> None:
        """What the board says at the moment of the scrape."""
        self._away.set(is_away)
        for state, count in counts.items():
            self._open.labels(state).set(count)

    def cut(self) -> None:
        """A slow reader was cut off."""
        self._cut.inc()

    def page(self) -> bytes:
        """What Prometheus reads."""
        return generate_latest(self._registry)

    def _counter(self, metric: Metric) -> prometheus_client.Counter:
        made = prometheus_client.Counter(
            metric.full_name, metric.meaning, metric.labels, registry=self._registry
        )
        for values in metric.combinations() if metric.labels else ():
            made.labels(*values)
        return made

    def _gauge(self, metric: Metric) -> Gauge:
        made = Gauge(metric.full_name, metric.meaning, metric.labels, registry=self._registry)
        for values in metric.combinations() if metric.labels else ():
            made.labels(*values)
        return made
