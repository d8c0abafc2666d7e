"""Every metric: name, type, unit, labels with all their values, meaning, and who says it. A new
metric is a row here.

`telemetry/metrics` shows exactly these, docs/metrics.md is printed from here, the alert rules and
the dashboard are checked against it. The contract's names (contract.md, Metrics) may not change. No
mentor id is ever a label. None as a label's values: known only at run time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product

from hlf_sync.core.breaker import State
from hlf_sync.core.fleet_verdict import MEANINGS
from hlf_sync.core.model import (
    ErrorCode,
    HaltReason,
    LedgerState,
    LetterKind,
    Operation,
    Visibility,
)
from hlf_sync.core.nightly import Outcome
from hlf_sync.core.source_health import Part
from hlf_sync.core.source_identity import Break

PREFIX = "hlf_sync_"


class Kind(StrEnum):
    """Prometheus' types."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class By(StrEnum):
    """Who says it. What only the leader says is absent elsewhere, so `max` and `sum` over workers
    are both right.
    """

    WORKER = "each worker"
    OWNER = "the partition's owner"
    LEADER = "the leader"


Values = tuple[str, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One row. `only` lists the label combinations there are, where that is not every
    combination.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    labels: Mapping[str, Values] = field(default_factory=dict)
    by: By = By.WORKER
    buckets: tuple[float, ...] = ()
    only: tuple[tuple[str, ...], ...] | None = None

    @property
    def full_name(self) -> str:
        """As Prometheus sees it."""
        return PREFIX + self.name

    def combinations(self) -> Iterator[tuple[str, ...]]:
        """Every combination of label values that is known beforehand, in the labels' order."""
        if self.only is not None:
            yield from self.only
        elif None not in self.labels.values():
            yield from product(*(values or () for values in self.labels.values()))


CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
WAY_BUCKETS = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
)
STAGE_BUCKETS = (0.001, 0.005, *WAY_BUCKETS)

STAGES = ("kafka", "decoded", "decided", "called", "recorded")
CHANGE_OUTCOMES = ("applied", "no_call", "out_of_scope", "collapsed", "ignored", "dead_lettered")
CALL_OUTCOMES = ("ok", *(code.value for code in ErrorCode))
DEPENDENCIES = ("kafka", "postgresql", "schema_registry", "dead_letter_topic", "kafka_connect")
MEASUREMENTS = ("lag", "group_lag", "database", "connector", "heartbeat", "source")
CONNECTOR_STATES = (
    "running",
    "paused",
    "stopped",
    "failed",
    "unassigned",
    "restarting",
    "missing",
    "unknown",
)
WAL_STATUSES = ("reserved", "extended", "unreserved", "lost", "missing")

_COUNTER, _GAUGE, _HISTOGRAM, _LEADER = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM, By.LEADER
_TOPIC: Mapping[str, Values] = {"topic": None}

# Lag and freshness: is anybody waiting?
LAG = Metric(
    "consumer_lag_records",
    _GAUGE,
    "records",
    "log end − committed; right also while paused and before the first record",
    {"topic": None, "partition": None},
    By.OWNER,
)
GROUP_LAG = Metric(
    "group_lag_records",
    _GAUGE,
    "records",
    "log end − committed over all partitions, owned by somebody or not",
    _TOPIC,
    _LEADER,
)
REPLAY_LAG = Metric(
    "replay_lag_records",
    _GAUGE,
    "records",
    "dead letters that the replay group has not resolved yet",
    _TOPIC,
    _LEADER,
)
FRESHNESS = Metric(
    "freshness_seconds",
    _GAUGE,
    "seconds",
    "age of the oldest change that this worker holds, or has not read yet, and Dynamics does not"
    " reflect: queue, retries, parked records and letters under way; 0: none. A written dead letter"
    " is not in it (dead_letter_oldest_seconds has its age)",
)
STAGE_SECONDS = Metric(
    "stage_seconds",
    _HISTOGRAM,
    "seconds",
    "how long a stage took, from the end of the one before: commit → kafka → decoded → decided"
    " (since the mentor was due) → called (circuit and pace included) → recorded. kafka and decoded"
    " compare clocks of different machines",
    {"stage": STAGES},
    buckets=STAGE_BUCKETS,
)
REFLECTED = Metric(
    "commit_to_crm_seconds",
    _HISTOGRAM,
    "seconds",
    "from a change's commit to its success in Dynamics, of the oldest change of each delivery",
    buckets=WAY_BUCKETS,
)
VERDICT = Metric(
    "verdict",
    _GAUGE,
    "0 or 1",
    "what all of it comes to, and because of what: one of them is 1",
    {"verdict": None, "stage": None, "reason": None},
    only=tuple(
        (meaning.standing.value, meaning.stage.value, reason.value)
        for reason, meaning in MEANINGS.items()
    ),
)
MEASURED_AGE = Metric(
    "measured_age_seconds",
    _GAUGE,
    "seconds",
    "how old the figures shown are; group_lag, database, connector, heartbeat and source by the"
    " leader",
    {"what": MEASUREMENTS},
)

# Changes and decisions.
CHANGES = Metric(
    "changes_total",
    _COUNTER,
    "changes",
    "changes that ended, by outcome",
    {"outcome": CHANGE_OUTCOMES},
)
EVALUATIONS = Metric("evaluations_total", _COUNTER, "mentors", "mentors looked at")
PENDING = Metric("mentors_pending", _GAUGE, "mentors", "mentors that this worker holds")
QUEUE = Metric(
    "queue_mentors",
    _GAUGE,
    "mentors",
    "the same by place: dirty (due), in progress, waiting (for circuit, pace or the next attempt)",
    {"place": ("dirty", "in_progress", "waiting")},
)
BACKLOG = Metric(
    "backlog_records",
    _GAUGE,
    "records",
    "records in memory without an outcome; fetching pauses at 50,000",
)
PARKED = Metric("parked_records", _GAUGE, "records", "records in memory that wait for their schema")
UNSEEN = Metric(
    "transactions_unknown_total",
    _COUNTER,
    "transactions",
    "transactions that no snapshot will ever show (a restore), given up on",
)
SWEEPS = Metric(
    "sweeps_total",
    _COUNTER,
    "sweeps",
    "looks at every mentor, because a table was truncated, committed positions were gone, or the source"
    " was mended",
    {"reason": ("truncated", "positions_lost", "source_mended")},
)

# Kafka.
PAUSED = Metric(
    "partitions_paused",
    _GAUGE,
    "partitions",
    "partitions that are not fetched, because the backlog is full or the worker stops",
)
PAUSES = Metric("pauses_total", _COUNTER, "pauses", "how often fetching was paused")
OWNED = Metric("partitions_owned", _GAUGE, "partitions", "partitions assigned to this worker")
REBALANCES = Metric(
    "rebalances_total",
    _COUNTER,
    "rebalances",
    "changes of the assignment",
    {"kind": ("assigned", "revoked", "lost")},
)
CONSUMER_FAILING = Metric(
    "consumer_failing",
    _GAUGE,
    "0 or 1",
    "1 while Kafka's consumer has failed for good and is being made anew; /status says why",
)
CONSUMER_RESTARTS = Metric(
    "consumer_restarts_total",
    _COUNTER,
    "restarts",
    "consumers that failed for good and were made anew",
)
TURN_AGE = Metric(
    "consumer_turn_age_seconds",
    _GAUGE,
    "seconds",
    "since the thread that reads Kafka last turned; /livez fails from 60",
)

# Dynamics.
REQUESTS = Metric(
    "dynamics_requests_total",
    _COUNTER,
    "calls",
    "calls answered by Dynamics",
    {"operation": tuple(operation.value for operation in Operation), "outcome": CALL_OUTCOMES},
)
REQUEST_SECONDS = Metric(
    "dynamics_request_seconds", _HISTOGRAM, "seconds", "duration of a call", buckets=CALL_BUCKETS
)
CIRCUIT = Metric(
    "circuit_state",
    _GAUGE,
    "0 or 1",
    "the fleet's circuit: one of them is 1",
    {"state": tuple(state.value for state in State)},
)
CIRCUIT_OPENED = Metric(
    "circuit_opened_timestamp_seconds",
    _GAUGE,
    "epoch seconds",
    "when it opened, by PostgreSQL's clock; 0 while closed",
)
CIRCUIT_FAILURES = Metric(
    "circuit_failures", _GAUGE, "calls", "failures in a row, as the circuit counts them"
)
HALTED = Metric(
    "halted",
    _GAUGE,
    "0 or 1",
    "1 while this stops calls (mass_removal: removals only)",
    {"reason": tuple(reason.value for reason in HaltReason)},
)
CALLS_IN_FLIGHT = Metric("calls_in_flight", _GAUGE, "calls", "calls under way")
PACE = Metric(
    "pace_requests_per_second",
    _GAUGE,
    "calls per second",
    "what this worker may call now: its part of the fleet's pace, less after a 429",
)
PACE_PAUSE = Metric(
    "pace_pause_seconds",
    _GAUGE,
    "seconds",
    "until calls may go on after a 429 or without a token; 0: now",
)
TOKEN_EXPIRY = Metric(
    "token_expires_seconds",
    _GAUGE,
    "seconds",
    "until the token in use ends; 0 when there is none; absent in shadow",
)

# Dead letters and the ledger.
LETTERS = Metric(
    "dead_letters_total",
    _COUNTER,
    "letters",
    "dead letters acknowledged",
    {"kind": tuple(kind.value for kind in LetterKind)},
)
LETTERS_OPEN = Metric(
    "dead_letters_open", _GAUGE, "mentors", "mentors with an open dead letter", by=_LEADER
)
LETTER_OLDEST = Metric(
    "dead_letter_oldest_seconds",
    _GAUGE,
    "seconds",
    "age of the oldest open one; 0: none",
    by=_LEADER,
)
NOTIFICATION_QUEUE = Metric(
    "postgres_notification_queue",
    _GAUGE,
    "ratio",
    "how full PostgreSQL's queue of notifications is; full, every COMMIT that notifies fails",
    by=_LEADER,
)
LETTERS_SUPERSEDED = Metric(
    "dead_letters_superseded",
    _GAUGE,
    "letters",
    "letters that a later success of their mentor made pointless",
    by=_LEADER,
)
LEDGER = Metric(
    "ledger_mentors",
    _GAUGE,
    "mentors",
    "the ledger by state",
    {"state": tuple(state.value for state in LedgerState)},
    _LEADER,
)
LISTED = Metric(
    "ledger_applied_mentors",
    _GAUGE,
    "mentors",
    "the ledger by what Dynamics shows as far as we know",
    {"applied": (*(v.value for v in Visibility), "unknown")},
    _LEADER,
)
WRONG = Metric(
    "listing_wrong_mentors",
    _GAUGE,
    "mentors",
    "mentors whose listing is, or may be, wrong: facts and ledger of all mentors are compared, by"
    " what the listing should show (unknown: facts outside the contract). At most 10 s old, ten"
    " minutes for a mentor whose rows were deleted. Held removals count",
    {"wanted": (*(v.value for v in Visibility), "unknown")},
    _LEADER,
)
WRONG_OLDEST = Metric(
    "listing_wrong_oldest_seconds",
    _GAUGE,
    "seconds",
    "how long the oldest of them has stood so, counted from the commit or the certificate's end that"
    " made it wrong; 0: none",
    {"wanted": (*(v.value for v in Visibility), "unknown")},
    _LEADER,
)
LEASES = Metric(
    "leases",
    _GAUGE,
    "mentors",
    "mentors claimed by a worker now, and claims that ended without a word (a killed worker)",
    {"state": ("held", "expired")},
    _LEADER,
)
LEASES_LOST = Metric(
    "leases_lost_total",
    _COUNTER,
    "deliveries",
    "outcomes that were not recorded, because the lease had gone to another worker",
)
HELD_REMOVALS = Metric(
    "held_removals",
    _GAUGE,
    "mentors",
    "removals that wait for `hlf-sync confirm-removals`",
    by=_LEADER,
)
PAUSED_BY_OPERATOR = Metric(
    "paused",
    _GAUGE,
    "pauses",
    "what `hlf-sync pause` holds back: all deliveries (0 or 1), and how many single mentors",
    {"scope": ("all", "mentor")},
    _LEADER,
)

# The source: PostgreSQL's log → Debezium → Kafka.
CONNECTOR = Metric(
    "connector_state",
    _GAUGE,
    "parts",
    "connector and task by Kafka Connect's word; unknown: Connect does not answer; absent without"
    " HLF_SYNC_CONNECT_URL",
    {"part": ("connector", "task"), "state": CONNECTOR_STATES},
    _LEADER,
)
SOURCE_FAULTS = Metric(
    "source_faults",
    _GAUGE,
    "faults",
    "what of the source is not as it must be, so that changes may not be captured; absent while it"
    " cannot be seen",
    {"part": tuple(Part)},
    _LEADER,
)
DATABASE_CHANGED = Metric(
    "database_changed",
    _GAUGE,
    "0 or 1",
    "the database is another one or went back, and the connector still stands where the old one was",
    {},
    _LEADER,
)
DISTRUSTS = Metric(
    "distrusts_total",
    _COUNTER,
    "times",
    "everybody was put in doubt, because of what the database turned out to be",
    {"cause": tuple(Break)},
)
SLOT_LAG = Metric(
    "slot_lag_bytes",
    _GAUGE,
    "bytes",
    "log that Debezium has not confirmed yet; absent without a slot",
    by=_LEADER,
)
SLOT_RETAINED = Metric(
    "slot_retained_bytes",
    _GAUGE,
    "bytes",
    "log that the slot holds back on PostgreSQL's disk; absent without a slot",
    by=_LEADER,
)
SLOT_STATUS = Metric(
    "slot_wal_status",
    _GAUGE,
    "0 or 1",
    "pg_replication_slots.wal_status, or missing: one of them is 1",
    {"status": WAL_STATUSES},
    _LEADER,
)
SLOT_INACTIVE = Metric(
    "slot_inactive_seconds",
    _GAUGE,
    "seconds",
    "since when nobody reads the slot; 0 while read; absent without a slot",
    by=_LEADER,
)
HEARTBEAT = Metric(
    "heartbeat_age_seconds",
    _GAUGE,
    "seconds",
    "age of Debezium's last sign of life: written into PostgreSQL (database), and come out at Kafka"
    " (kafka). Rises when the connector is dead though the lag is 0",
    {"end": ("database", "kafka")},
    _LEADER,
)

# By the clock.
NIGHT_OVERDUE = Metric(
    "nightly_overdue_seconds",
    _GAUGE,
    "seconds",
    "since the newest night should have begun, while it is not finished; 0 once it is; absent while"
    " HLF_SYNC_NIGHTLY_AT is off",
    by=_LEADER,
)
NIGHT_STEP = Metric(
    "nightly_step",
    _GAUGE,
    "0 or 1",
    "how each step of the newest night stands: one outcome of each is 1",
    {"step": None, "outcome": tuple(outcome.value for outcome in Outcome)},
    _LEADER,
)
NIGHT_STEP_SECONDS = Metric(
    "nightly_step_seconds",
    _GAUGE,
    "seconds",
    "how long each step of the newest night took",
    {"step": None},
    _LEADER,
)
REMINDERS = Metric(
    "nightly_reminders",
    _GAUGE,
    "reminders",
    "written by the newest night",
    by=_LEADER,
)
DUPLICATES = Metric(
    "duplicates",
    _GAUGE,
    "duplicates",
    "within one certification's period, of the 30 days before the newest night: calls without an"
    " explanation, and reminders",
    {"kind": ("calls", "reminders")},
    _LEADER,
)
LISTING_AGE = Metric(
    "listing_verified_seconds",
    _GAUGE,
    "seconds",
    "the listing in Dynamics equals the facts as of so long ago: since the newest finished pass over"
    " the listing began that found no drift and could read everybody; before the first one since a"
    " leader first led; absent while HLF_SYNC_VERIFY_EVERY_S is 0, and in shadow",
    by=_LEADER,
)
LISTING_PERIOD = Metric(
    "listing_verify_every_seconds",
    _GAUGE,
    "seconds",
    "HLF_SYNC_VERIFY_EVERY_S; absent while it is 0, and in shadow",
    by=_LEADER,
)
LISTING_DIFFERENCES = Metric(
    "listing_differences",
    _GAUGE,
    "mentors, or contacts",
    "found by the newest finished pass over the listing: another value shown than should be"
    " (drift), a contact that Dynamics does not know, one that is shown and belongs to no mentor,"
    " one that could not be read; `left` are those of the first two that were not asked for",
    {"kind": ("drift", "contact_missing", "shown_without_mentor", "unread", "left")},
    _LEADER,
)
LISTING_DRIFTING = Metric(
    "listing_drifting_passes",
    _GAUGE,
    "passes",
    "so many finished passes over the listing in a row, the newest ones, found drift, though each"
    " asked for what it found; 0 after one that found none",
    by=_LEADER,
)
CREDENTIAL_DAYS = Metric(
    "credential_days_left",
    _GAUGE,
    "days",
    "until the client certificate ends, or the secret where HLF_SYNC_DYNAMICS_CLIENT_SECRET_ENDS"
    " says when; absent where the end is not known",
)

# The worker itself.
DEPENDENCY = Metric(
    "dependency_up",
    _GAUGE,
    "0 or 1",
    "0 while it does not answer this worker; the leader also asks schema_registry and kafka_connect"
    " when nobody needs them",
    {"dependency": DEPENDENCIES},
)
READY = Metric("ready", _GAUGE, "0 or 1", "what /readyz says")
LEADER = Metric("leader", _GAUGE, "0 or 1", "1 at the one worker that leads")
CLOCK_SKEW = Metric(
    "clock_skew_seconds",
    _GAUGE,
    "seconds",
    "this machine's clock − PostgreSQL's; decides nothing, but commit_to_crm_seconds, stage_seconds"
    " and log times are off by it",
)
LOG_DROPPED = Metric(
    "log_lines_dropped_total",
    _COUNTER,
    "lines",
    "log lines that nobody took (a blocked or closed pipe)",
)
SPANS = Metric(
    "trace_spans_total",
    _COUNTER,
    "spans",
    "ended while tracing is on; lost: the queue was full, or the collector did not take them",
    {"outcome": ("exported", "lost")},
)
BUILD = Metric(
    "build_info", _GAUGE, "1", "version, and how it delivers", {"version": None, "delivery": None}
)

TABLE: tuple[Metric, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Metric)
)
