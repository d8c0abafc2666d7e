"""The service's own metrics, `hlf_sync_web_…`, at its /metrics. No subject, mentor or path of a
caller's making is ever a label.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hlf_sync.web.auth.token import REASONS
from hlf_sync.web.models import Counts

REFUSALS = (*REASONS, "organization", "cross_site", "no_keys")
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Numbers:
    """What is counted."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "hlf_sync_web_requests",
            "answers of the coordinators' web service",
            ("route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "hlf_sync_web_request_seconds",
            "how long an answer took (streams apart)",
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._refused = Counter(
            "hlf_sync_web_refused",
            "callers that were not let in",
            ("reason",),
            registry=self._registry,
        )
        self._cut = Counter(
            "hlf_sync_web_streams_cut",
            "event streams ended because their reader was too slow",
            registry=self._registry,
        )
        self._streams = Gauge(
            "hlf_sync_web_streams", "event streams open now", registry=self._registry
        )
        self._open_streams = 0
        self._away = Gauge(
            "hlf_sync_web_database_away",
            "1 while PostgreSQL does not answer the web service",
            registry=self._registry,
        )
        self._open = Gauge(
            "hlf_sync_web_open_updates",
            "visibility updates that are open, as coordinators see them",
            ("state",),
            registry=self._registry,
        )
        for reason in REFUSALS:
            self._refused.labels(reason)

    def refused(self, reason: str) -> None:
        """A caller was not let in."""
        self._refused.labels(reason).inc()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """An answer was given."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.observe(seconds)

    def streams(self, change: int) -> None:
        """A stream began or ended."""
        self._open_streams += change
        self._streams.set(self._open_streams)

    def open_streams(self) -> int:
        """How many are open."""
        return self._open_streams

    def saw(self, *, is_away: bool, counts: Counts) -> None:
        """What the board says at the moment of the scrape."""
        self._away.set(is_away)
        for state, count in counts.model_dump().items():
            self._open.labels(state).set(count)

    def cut(self) -> None:
        """A slow reader was cut off."""
        self._cut.inc()

    def page(self) -> bytes:
        """What Prometheus reads."""
        return generate_latest(self._registry)
