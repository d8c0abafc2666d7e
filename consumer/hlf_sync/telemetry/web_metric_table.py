"""The metrics of the coordinators' web service, as metric_table has the workers'. Shown by it at
its own /metrics; printed into docs/metrics.md beside theirs.
"""

from hlf_sync.telemetry.metric_table import CALL_BUCKETS, Kind, Metric

REFUSALS = (
    "missing",
    "malformed",
    "algorithm",
    "unknown_key",
    "signature",
    "expired",
    "not_yet_valid",
    "issuer",
    "audience",
    "claims",
    "ended",
    "organization",
    "cross_site",
    "no_keys",
)

REQUESTS = Metric(
    "web_requests_total",
    Kind.COUNTER,
    "answers",
    "answers of the coordinators' web service, by what answered",
    {"route": None, "status": None},
)
SECONDS = Metric(
    "web_request_seconds",
    Kind.HISTOGRAM,
    "seconds",
    "how long an answer took; a stream counts when it ends",
    buckets=CALL_BUCKETS,
)
REFUSED = Metric(
    "web_refused_total",
    Kind.COUNTER,
    "callers",
    "callers that were not let in, by why",
    {"reason": REFUSALS},
)
STREAMS = Metric("web_streams", Kind.GAUGE, "streams", "event streams open now")
CUT = Metric(
    "web_streams_cut_total",
    Kind.COUNTER,
    "streams",
    "event streams ended because their reader was too slow",
)
AWAY = Metric(
    "web_database_away", Kind.GAUGE, "0 or 1", "1 while PostgreSQL does not answer the web service"
)
OPEN = Metric(
    "web_open_updates",
    Kind.GAUGE,
    "mentors",
    "visibility updates that are open, as coordinators see them",
    {"state": ("pending", "in_doubt", "dead_lettered", "held")},
)

WEB_TABLE: tuple[Metric, ...] = (REQUESTS, SECONDS, REFUSED, STREAMS, CUT, AWAY, OPEN)
