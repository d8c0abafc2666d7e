"""Prometheus metrics: the whole list with type and meaning, and the `Meter` that the pipeline counts with. docs/metrics.md comes from here.

Every label value is present from the start. No mentor id is ever a label.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from consumer.core.breaker import State
from consumer.core.model import ErrorCode, HaltReason, LetterKind, Operation

CHANGE_OUTCOMES = ("applied", "no_call", "out_of_scope", "collapsed", "ignored", "dead_lettered")
CALL_OUTCOMES = ("ok", *(code.value for code in ErrorCode))

_CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_COMMIT_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)


class Leader(Protocol):
    """What the scheduler knows of the whole fleet."""

    is_leader: bool
    open_letters: int
    oldest_letter_s: float


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self.registry = registry = CollectorRegistry()
        self._changes = _counter(registry, "changes", "changes that ended, by outcome", "outcome", CHANGE_OUTCOMES)
        self._letters = _counter(registry, "dead_letters", "dead letters acknowledged", "kind", [kind.value for kind in LetterKind])
        requests = Counter(
            "hlf_sync_dynamics_requests_total", "calls answered by Dynamics", ["operation", "outcome"], registry=registry
        )
        self._requests = {(op, outcome): requests.labels(op.value, outcome) for op in Operation for outcome in CALL_OUTCOMES}
        self._seconds = Histogram(
            "hlf_sync_dynamics_request_seconds", "duration of a call", buckets=_CALL_BUCKETS, registry=registry
        )
        self._reflected = Histogram(
            "hlf_sync_commit_to_crm_seconds", "from a change's commit to its success in Dynamics", buckets=_COMMIT_BUCKETS, registry=registry
        )
        self._evaluations = Counter("hlf_sync_evaluations_total", "mentors looked at", registry=registry)
        self._unseen = Counter(
            "hlf_sync_transactions_unknown_total", "transactions that no snapshot will ever show, given up on", registry=registry
        )
        self.circuit = _states(registry, "circuit_state", "the fleet's circuit: one of them is 1", "state", [s.value for s in State])
        self.halted = _states(registry, "halted", "1 while this stops calls", "reason", [reason.value for reason in HaltReason])
        self.lag = Gauge(
            "hlf_sync_consumer_lag_records", "log end − committed, of the partitions owned", ["topic", "partition"], registry=registry
        )
        self.group_lag = Gauge(
            "hlf_sync_group_lag_records", "log end − committed over all partitions, by the leader", ["topic"], registry=registry
        )
        self.freshness = Gauge("hlf_sync_freshness_seconds", "age of the oldest change held and not yet reflected; 0: none", registry=registry)
        self.open_letters = Gauge("hlf_sync_dead_letters_open", "mentors with an open dead letter, by the leader", registry=registry)
        self.oldest_letter = Gauge("hlf_sync_dead_letter_oldest_seconds", "age of the oldest open one, by the leader", registry=registry)
        self.pending = Gauge("hlf_sync_mentors_pending", "mentors that this worker holds", registry=registry)
        self.paused = Gauge("hlf_sync_partitions_paused", "partitions that are not fetched", registry=registry)

    def page(self) -> bytes:
        """The exposition."""
        return generate_latest(self.registry)

    def show_lag(self, topic: str, lag: Mapping[int, int]) -> None:
        """Lag of the partitions owned now; those that went to another worker vanish from here."""
        self.lag.clear()
        for partition, records in lag.items():
            self.lag.labels(topic, str(partition)).set(records)

    def show_as_leader(self, topic: str, group_lag: int, leader: "Leader") -> None:
        """What only the leader says."""
        self.group_lag.clear()
        if leader.is_leader:
            self.group_lag.labels(topic).set(group_lag)
        self.open_letters.set(leader.open_letters if leader.is_leader else 0)
        self.oldest_letter.set(leader.oldest_letter_s if leader.is_leader else 0)

    def changes(self, outcome: str, count: int) -> None:
        """Changes that ended."""
        self._changes[outcome].inc(count)

    def evaluated(self, count: int) -> None:
        """Mentors whose facts were read and decided on."""
        self._evaluations.inc(count)

    def called(self, operation: Operation, outcome: str, seconds: float) -> None:
        """A call was answered."""
        self._requests[operation, outcome].inc()
        self._seconds.observe(seconds)

    def reflected(self, committed_ms: int) -> None:
        """A delivery succeeded."""
        self._reflected.observe(max(0, self._now_ms() - committed_ms) / 1000)

    def lettered(self, kind: LetterKind) -> None:
        """A dead letter was acknowledged."""
        self._letters[kind.value].inc()

    def unseen_for_ever(self) -> None:
        """A transaction was given up on."""
        self._unseen.inc()


def _counter(registry: CollectorRegistry, name: str, text: str, label: str, values: Iterable[str]) -> dict[str, Counter]:
    counter = Counter(f"hlf_sync_{name}_total", text, [label], registry=registry)
    return {value: counter.labels(value) for value in values}


def _states(registry: CollectorRegistry, name: str, text: str, label: str, values: Iterable[str]) -> dict[str, Gauge]:
    gauge = Gauge(f"hlf_sync_{name}", text, [label], registry=registry)
    return {value: gauge.labels(value) for value in values}
