"""Sets the gauges at the moment of a scrape, from what the worker and its monitor know.

Nothing is asked of anybody, so a scrape is fast and cannot hang. Called by the page's server only.
The counters count by themselves (telemetry/metrics).
"""

import asyncio
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from hlf_sync.core.breaker import State
from hlf_sync.core.fleet_verdict import KAFKA, LETTER_TOPIC, MEANINGS, POSTGRESQL, REGISTRY, judge
from hlf_sync.core.source_health import Part
from hlf_sync.telemetry import metric_table as table
from hlf_sync.telemetry.logs import Writer
from hlf_sync.telemetry.metrics import Metrics, Series
from hlf_sync.telemetry.tracing_switch import Spans
from hlf_sync.watch.fleet_watch import Sight
from hlf_sync.watch.source_watch import SourceSight
from hlf_sync.watch.status import Status, queue_by_place

_DEPENDENCIES = {
    KAFKA: "kafka",
    POSTGRESQL: "postgresql",
    REGISTRY: "schema_registry",
    LETTER_TOPIC: "dead_letter_topic",
}


class Scrape:
    """One worker's page. `log` is None where nothing is logged (tests), `spans` while nothing is
    traced.
    """

    def __init__(
        self, status: Status, metrics: Metrics, log: Writer | None, spans: Spans | None = None
    ) -> None:
        self._status = status
        self._metrics = metrics
        self._log = log
        self._spans = spans
        metrics.show_all(table.BUILD, {(_version(), status.delivery): 1.0})

    def page(self) -> bytes:
        """The body of /metrics."""
        self._show_way()
        self._show_calls()
        self._show_worker()
        self._show_as_leader()
        return self._metrics.page()

    def _show_way(self) -> None:
        """Lag, freshness, verdict, queue."""
        status, show = self._status, self._metrics.show
        topic, signs = status.topic, status.signs()
        self._metrics.show_all(
            table.LAG,
            {(topic, str(partition)): lag for partition, lag in sorted(status.lag().items())},
        )
        show(table.FRESHNESS, signs.freshness_s)
        reason = judge(signs)
        self._metrics.show_all(
            table.VERDICT,
            {
                (meaning.standing, meaning.stage, known): float(known is reason)
                for known, meaning in MEANINGS.items()
            },
        )
        show(table.PENDING, len(status.stages.queue))
        for place, count in queue_by_place(signs).items():
            show(table.QUEUE, count, place)
        show(table.BACKLOG, status.backlog)
        show(table.PARKED, status.stages.intake.parked_count)
        show(table.PAUSED, status.source.paused_count)
        show(table.OWNED, len(status.stages.assignment.partitions))
        show(table.TURN_AGE, status.turn_age_s)
        show(table.CONSUMER_FAILING, status.source.trouble is not None)
        show(table.CONSUMER_RESTARTS, status.source.restarts)

    def _show_calls(self) -> None:
        """Circuit, halts, pace, token."""
        stages, show, now_s = (
            self._status.stages,
            self._metrics.show,
            asyncio.get_running_loop().time(),
        )
        fleet = stages.gate.fleet
        circuit = fleet.circuit if fleet else None
        self._metrics.show_one(table.CIRCUIT, [circuit.state if circuit else State.CLOSED])
        show(
            table.CIRCUIT_OPENED,
            (fleet.open_since_s or 0.0) if fleet else 0.0,
        )
        show(table.CIRCUIT_FAILURES, circuit.failure_count if circuit else 0)
        self._metrics.show_one(table.HALTED, fleet.halts if fleet else ())
        show(table.CALLS_IN_FLIGHT, stages.pacing.in_flight)
        show(table.PACE, stages.pacing.pace(now_s)[0])
        show(table.PACE_PAUSE, self._status.pause_s())
        self._metrics.show_all(
            table.TOKEN_EXPIRY,
            {} if self._status.token is None else {(): self._status.token.expires_in_s},
        )
        self._metrics.show_all(table.CREDENTIAL_DAYS, _only(self._status.credential_days_left()))
        if fleet is not None:
            show(table.CLOCK_SKEW, self._status.now_ms() / 1000 - stages.gate.database_now_s)

    def _show_worker(self) -> None:
        status, show = self._status, self._metrics.show
        down = {_DEPENDENCIES.get(name) for name in status.stages.dependencies.down}
        down |= (
            {"kafka_connect"}
            if (status.watch.sight.connector or {}).get("connector") == "unknown"
            else set()
        )
        down |= {"schema_registry"} if status.watch.sight.is_registry_up is False else set()
        for name in table.DEPENDENCIES:
            show(table.DEPENDENCY, name not in down, name)
        show(table.READY, not status.missing())
        show(table.LEADER, status.scheduler.is_leader)
        show(table.LOG_DROPPED, self._log.dropped if self._log else 0)
        if self._spans is not None:
            show(table.SPANS, self._spans.exported, "exported")
            show(table.SPANS, self._spans.lost, "lost")

    def _show_as_leader(self) -> None:
        """What only the leader says; absent at the others."""
        metrics, status = self._metrics, self._status
        is_leader, sight = (
            status.scheduler.is_leader,
            status.watch.sight if status.scheduler.is_leader else Sight(),
        )
        scheduler, topic, group_lag = status.scheduler, status.topic, status.monitor.group_lag
        metrics.show_all(
            table.GROUP_LAG,
            {(topic,): float(group_lag)} if is_leader and group_lag is not None else {},
        )
        metrics.show_all(
            table.REPLAY_LAG,
            {} if sight.replay_lag is None else {(status.letters_topic,): float(sight.replay_lag)},
        )
        metrics.show_all(table.LETTERS_OPEN, _only(scheduler.open_letters if is_leader else None))
        metrics.show_all(
            table.LETTER_OLDEST, _only(scheduler.oldest_letter_s if is_leader else None)
        )
        metrics.show_all(
            table.NOTIFICATION_QUEUE,
            _only(scheduler.notification_queue if is_leader else None),
        )
        status.nights.show(metrics)
        status.listing.show(metrics)
        self._show_measured()
        self._show_ledger(sight)
        self._show_source(sight)

    def _show_measured(self) -> None:
        now_s, monitor, sight = (
            asyncio.get_running_loop().time(),
            self._status.monitor,
            self._status.watch.sight,
        )
        measured = {
            "lag": monitor.measured_at_s,
            "group_lag": monitor.group_measured_at_s,
            **{what: sight.seen_at_s.get(what) for what in ("database", "connector", "heartbeat")},
            "source": sight.source.seen_at_s,
        }
        self._metrics.show_all(
            table.MEASURED_AGE,
            {(what,): now_s - at_s for what, at_s in measured.items() if at_s is not None},
        )

    def _show_ledger(self, sight: Sight) -> None:
        metrics = self._metrics
        is_seen = sight.states is not None
        metrics.show_all(table.LEDGER, _each(table.LEDGER, sight.states))
        metrics.show_all(table.LISTED, _each(table.LISTED, sight.applied if is_seen else None))
        metrics.show_all(table.LEASES, _each(table.LEASES, sight.leases if is_seen else None))
        metrics.show_all(table.LETTERS_SUPERSEDED, _only(sight.superseded if is_seen else None))
        metrics.show_all(table.HELD_REMOVALS, _only(sight.held_removals if is_seen else None))
        metrics.show_all(
            table.PAUSED_BY_OPERATOR, _each(table.PAUSED_BY_OPERATOR, sight.paused or None)
        )
        metrics.show_all(
            table.WRONG, {(wanted,): float(wrong.mentors) for wanted, wrong in sight.wrong.items()}
        )
        metrics.show_all(
            table.WRONG_OLDEST, {(wanted,): wrong.oldest_s for wanted, wrong in sight.wrong.items()}
        )

    def _show_source(self, sight: Sight) -> None:
        metrics, slot, states = self._metrics, sight.slot, sight.connector_states
        metrics.show_all(
            table.CONNECTOR,
            (
                {}
                if states is None
                else {
                    labels: float(states.get((labels[0], labels[1]), 0))
                    for labels in table.CONNECTOR.combinations()
                }
            ),
        )
        self._show_source_health(sight.source)
        metrics.show_all(table.SLOT_LAG, _only(slot.lag_bytes if slot else None))
        metrics.show_all(table.SLOT_RETAINED, _only(slot.retained_bytes if slot else None))
        metrics.show_all(table.SLOT_INACTIVE, _only(slot.inactive_s if slot else None))
        metrics.show_all(
            table.SLOT_STATUS,
            (
                {}
                if slot is None
                else {
                    labels: float(labels[0] == slot.status)
                    for labels in table.SLOT_STATUS.combinations()
                }
            ),
        )
        beats = {"database": sight.beat_at_database_s, "kafka": sight.beat_at_kafka_s}
        metrics.show_all(
            table.HEARTBEAT, {(end,): age_s for end, age_s in beats.items() if age_s is not None}
        )

    def _show_source_health(self, source: SourceSight) -> None:
        found = {part: source.count(part) for part in Part}
        self._metrics.show_all(
            table.SOURCE_FAULTS,
            {(part.value,): float(count) for part, count in found.items() if count is not None},
        )
        self._metrics.show_all(
            table.DATABASE_CHANGED,
            _only(None if source.faults is None else source.broken is not None),
        )


def _only(value: float | None) -> Series:
    return {} if value is None else {(): float(value)}


def _each(metric: table.Metric, counts: Mapping[str, int] | None) -> Series:
    return (
        {}
        if counts is None
        else {labels: float(counts.get(labels[0], 0)) for labels in metric.combinations()}
    )


def _version() -> str:
    try:
        return version("hlf-sync")
    except PackageNotFoundError:
        return "unknown"
