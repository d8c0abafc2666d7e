"""What one worker says of itself: the verdict, the body of /status, whether it is alive and ready.
Reads the stages, changes nothing.

`/livez` fails when the loop (which then answers nobody) or the consumer thread is stuck; `/readyz`
while partitions, a dependency or calls are missing, or before it has caught up once. The page's
server is status_server, the metrics are set by scrape.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf
from typing import Any, Protocol

import structlog

from hlf_sync.core.breaker import State
from hlf_sync.core.fleet_verdict import (
    KAFKA,
    MEANINGS,
    POSTGRESQL,
    Signs,
    SourceSigns,
    Standing,
    halt_words,
    is_held_up,
    judge,
)
from hlf_sync.core.halts import NOT_READY
from hlf_sync.kafka.faults import meaning
from hlf_sync.pipeline.stages import Stages
from hlf_sync.watch.fleet_watch import FleetWatch, Sight
from hlf_sync.watch.known_workers import KnownWorkers
from hlf_sync.watch.monitor import Monitor
from hlf_sync.watch.night_watch import NightWatch
from hlf_sync.watch.parts import ConsumerSigns
from hlf_sync.watch.standby import Standby
from hlf_sync.watch.verified_listing import VerifiedListing

_log = structlog.get_logger()

# A turn of the consumer thread takes 50 ms, a revocation up to ten seconds, a broker's answer at
# assignment ten more.
STUCK_S = 60.0
_VERDICT_S = 2.0
_CONNECTOR_DOWN = frozenset({"failed", "missing"})
_CONNECTOR_PAUSED = frozenset({"paused", "stopped"})


class Token(Protocol):
    """The credentials in use."""

    @property
    def expires_in_s(self) -> float:
        """How long the token still lives; 0 when there is none."""
        ...


class Leading(Protocol):
    """What the leader's scheduler says of itself."""

    is_leader: bool
    open_letters: int
    oldest_letter_s: float
    notification_queue: float


class Status:
    """One worker's state, for people and scrapers. `token` is None in shadow; `identity` says which
    worker of which fleet it is.
    """

    def __init__(
        self,
        *,
        stages: Stages,
        scheduler: Leading,
        source: ConsumerSigns,
        monitor: Monitor,
        standby: Standby,
        watch: FleetWatch,
        topic: str,
        letters_topic: str,
        delivery: str,
        token: Token | None,
        now_ms: Callable[[], int],
        nights: NightWatch | None = None,
        listing: VerifiedListing | None = None,
        credential_days_left: Callable[[], float | None] = lambda: None,
        identity: Mapping[str, str] | None = None,
        workers: KnownWorkers | None = None,
    ) -> None:
        self.identity = identity or {}
        self.workers = workers or KnownWorkers()
        self.stages = stages
        self.scheduler = scheduler
        self.source = source
        self.monitor = monitor
        self.standby = standby
        self.watch = watch
        self.topic = topic
        self.letters_topic = letters_topic
        self.delivery = delivery
        self.token = token
        self.now_ms = now_ms
        self.nights = nights or NightWatch(None, "UTC", None, lambda: False)
        self.listing = listing or VerifiedListing()
        self.credential_days_left = credential_days_left
        self._held_up_at_s = self._unreachable_at_s = -inf

    @property
    def backlog(self) -> int:
        """Positions held in memory without an outcome."""
        return (
            self.stages.queue.size + self.stages.intake.parked_count + self.stages.letters.under_way
        )

    @property
    def turn_age_s(self) -> float:
        """Since the consumer thread last turned."""
        return max(0.0, asyncio.get_running_loop().time() - self.source.last_turn_s)

    async def watch_verdict(self) -> None:
        """Say each change of the verdict, for ever."""
        said = None
        while True:
            reason = judge(self.signs())
            if reason is not said:
                said, meaning = reason, MEANINGS[reason]
                tell = _log.info if meaning.standing is Standing.OK else _log.warning
                tell(
                    "verdict",
                    verdict=meaning.standing.value,
                    reason=reason.value,
                    stage=meaning.stage.value,
                    detail=meaning.text,
                )
            await asyncio.sleep(_VERDICT_S)

    def is_alive(self) -> bool:
        """Whether loop and consumer thread turn; the loop does when it answers this."""
        return self.source.is_alive and self.turn_age_s < STUCK_S

    def missing(self) -> list[str]:
        """What keeps the worker from being ready; empty when it is."""
        self.monitor.note_progress()
        fleet = self.stages.gate.fleet
        down = self.stages.dependencies.reasons
        reasons = [f"{name} does not answer ({meaning(down[name])})" for name in sorted(down)]
        if fleet is None:
            reasons.append("circuit not read yet")
        elif POSTGRESQL not in down:
            reasons += [f"halted: {halt_words(one)}" for one in sorted(fleet.halts & NOT_READY)]
        if self.stages.gate.is_aside:
            reasons.append("the credentials of this worker are refused, those of others are not")
        if (trouble := self.source.trouble) is not None:
            reasons.append(f"Kafka's consumer failed: {meaning(trouble.error_code)}")
        elif not self.stages.assignment.partitions:
            reasons.append("no partition assigned")
        elif not self.monitor.has_caught_up:
            reasons.append("not caught up since the start")
        return reasons

    def lag(self) -> dict[int, int]:
        """Lag of the partitions owned at this moment."""
        return self.monitor.history.lag(self.stages.assignment.partitions)

    def pause_s(self) -> float:
        """How long no call may start after a 429, here or anywhere in the fleet, or without a
        token.
        """
        gate, now_s = self.stages.gate, asyncio.get_running_loop().time()
        until_s = gate.fleet.circuit.retry_after_until_s if gate.fleet else None
        return max(
            self.stages.pacing.pause_s(now_s),
            0.0 if until_s is None else until_s - gate.database_now_s,
        )

    def snapshot(self) -> dict[str, Any]:
        """The body of /status."""
        signs = self.signs()
        reason = judge(signs)
        meaning = MEANINGS[reason]
        fleet = self.stages.gate.fleet
        circuit = fleet.circuit if fleet else None
        return {
            **self.identity,
            "verdict": meaning.standing.value,
            "reason": reason.value,
            "stage": meaning.stage.value,
            "because": meaning.text,
            "advice": meaning.advice,
            "circuit": {
                "state": circuit.state.value if circuit else State.CLOSED.value,
                "opened_at": fleet.open_since_s if fleet else None,
                "open_s": _age_s(fleet.open_since_s if fleet else None, self._database_now_ms()),
                "next_probe_s": self.stages.gate.next_probe_s,
                "failure_count": circuit.failure_count if circuit else 0,
                "last_error_code": circuit.last_error_code if circuit else None,
            },
            "delivery": self.delivery,
            "halted": sorted(fleet.halts) if fleet else [],
            "lag": {
                f"{self.topic}-{partition}": lag for partition, lag in sorted(self.lag().items())
            },
            "freshness_s": round(signs.freshness_s, 3),
            "queue": queue_by_place(signs),
            "backlog": self.backlog,
            "parked": self.stages.intake.parked_count,
            "assignment": self.stages.assignment.partitions,
            "consumer": self._consumer(),
            "leader": self.scheduler.is_leader,
            "dead_letters_open": self.scheduler.open_letters,
            "dependencies_down": sorted(self.stages.dependencies.down),
            "dependencies_down_s": self._down_s(),
            "not_ready": self.missing(),
            "credential_days_left": self.credential_days_left(),
            "nightly": self.nights.content(),
            "listing_age_s": self._listing_age_s(),
            "listing": self.listing.content(),
            **self.workers.content(),
            **_as_leader(
                self.watch.sight, self.monitor.group_lag, is_leader=self.scheduler.is_leader
            ),
        }

    def signs(self) -> Signs:
        """All that the verdict is made of, at this moment. Walks the queue: once per request is
        enough.
        """
        stages, history, now_s = (
            self.stages,
            self.monitor.history,
            asyncio.get_running_loop().time(),
        )
        self.monitor.note_progress()
        fleet, counts, owned = (
            stages.gate.fleet,
            stages.queue.counts(),
            stages.assignment.partitions,
        )
        if {KAFKA, POSTGRESQL} & stages.dependencies.down.keys():
            self._unreachable_at_s = now_s
        oldest_ms, calling = stages.queue.oldest_committed_ms(), stages.delivery.waiting
        held_s = 0.0 if oldest_ms is None else max(0.0, self._database_now_ms() - oldest_ms) / 1000
        signs = Signs(
            is_turning=self.is_alive(),
            is_consumer_failed=self.source.trouble is not None,
            halts=fleet.halts if fleet else frozenset(),
            down=frozenset(stages.dependencies.down),
            circuit=fleet.circuit.state if fleet else State.CLOSED,
            pause_s=self.pause_s(),
            partitions=len(owned),
            unread_s=0.0 if owned else self.standby.unread_s(now_s),
            is_standby=self.standby.is_proven,
            has_caught_up=self.monitor.has_caught_up,
            is_stuck=history.is_stuck(owned),
            freshness_s=max(
                held_s, history.unhandled_s(stages.assignment.committable(), owned, now_s)
            ),
            held_s=held_s,
            parked=stages.intake.parked_count,
            dirty=counts["dirty"],
            in_progress=counts["in_progress"] - calling,
            calling=calling,
            retrying=counts["waiting"],
            source=_source_signs(self.watch.sight),
            is_paused=bool(self.watch.sight.paused.get("all")),
            wrong_s=self._wrong_s(),
            has_open_letter=fleet is not None and fleet.has_open_letter,
        )
        if is_held_up(signs):
            self._held_up_at_s = now_s
        return replace(
            signs,
            calm_s=min(now_s - self._held_up_at_s, self._closed_s()),
            reachable_s=now_s - self._unreachable_at_s,
        )

    def _closed_s(self) -> float:
        """For how long the circuit has been closed."""
        gate = self.stages.gate
        closed_at_s = gate.fleet.circuit.closed_at_s if gate.fleet else None
        return inf if closed_at_s is None else gate.database_now_s - closed_at_s

    def _down_s(self) -> dict[str, float]:
        """For how long each of them has not answered."""
        now_s = asyncio.get_running_loop().time()
        down = self.stages.dependencies.down
        return {name: round(now_s - since_s, 1) for name, since_s in sorted(down.items())}

    def _wrong_s(self) -> float:
        """How long the listing has been wrong somewhere, as far as the last look tells; in shadow it
        is meant to be.
        """
        oldest = [wrong.oldest_s for wrong in self.watch.sight.wrong.values() if wrong.mentors]
        if not oldest or self.delivery == "shadow":
            return 0.0
        return max(oldest) + (self._listing_age_s() or 0.0)

    def _listing_age_s(self) -> float | None:
        """When facts and ledger were compared last; None at who does not lead, and before that."""
        at_s = self.watch.sight.last_seen_at_s.get("ledger")
        return None if at_s is None else round(asyncio.get_running_loop().time() - at_s, 1)

    def _consumer(self) -> dict[str, Any]:
        """Kafka's consumer: why it fails, and how often it was made anew."""
        trouble, now_s = self.source.trouble, asyncio.get_running_loop().time()
        return {
            "error_code": trouble and trouble.error_code,
            "because": trouble and meaning(trouble.error_code),
            "failing_s": 0.0 if trouble is None else round(max(0.0, now_s - trouble.since_s), 1),
            "restarts": self.source.restarts,
        }

    def _database_now_ms(self) -> float:
        """Commit times are PostgreSQL's, so their ages are told by its clock: a worker's own may be
        wrong. Ours until that was read once.
        """
        gate = self.stages.gate
        return gate.database_now_s * 1000 if gate.fleet else self.now_ms()


def _age_s(at_s: float | None, now_ms: float) -> float | None:
    return None if at_s is None else round(max(0.0, now_ms / 1000 - at_s), 1)


def queue_by_place(signs: Signs) -> dict[str, int]:
    """Mentors as /status and the metric show them: a mentor that waits for its call waits, whatever
    the queue calls it.
    """
    return {
        "dirty": signs.dirty,
        "in_progress": signs.in_progress,
        "waiting": signs.calling + signs.retrying,
    }


def _source_signs(sight: Sight) -> SourceSigns:
    beats = [
        age_s for age_s in (sight.beat_at_database_s, sight.beat_at_kafka_s) if age_s is not None
    ]
    return SourceSigns(
        is_connector_down=_is_any(sight.connector, _CONNECTOR_DOWN),
        is_connector_paused=_is_any(sight.connector, _CONNECTOR_PAUSED),
        is_slot_lost=None if sight.slot is None else sight.slot.is_lost,
        heartbeat_age_s=max(beats, default=None),
        is_broken=None if sight.source.faults is None else bool(sight.source.faults),
        is_changed=sight.source.broken is not None,
    )


def _is_any(states: Mapping[str, str] | None, wanted: frozenset[str]) -> bool | None:
    """Whether connector or task is in one of these; None where that is not seen."""
    return None if states is None else any(state in wanted for state in states.values())


def _source_age_s(sight: Sight) -> float | None:
    """How old the oldest of what is shown of the source is."""
    looks = ("database", "heartbeat", "connector")
    seen = [sight.seen_at_s[look] for look in looks if look in sight.seen_at_s]
    return round(asyncio.get_running_loop().time() - min(seen), 1) if seen else None


def _as_leader(sight: Sight, group_lag: int | None, *, is_leader: bool) -> dict[str, Any]:
    """What only the leader says; null at the others."""
    if not is_leader:
        return dict.fromkeys(("group_lag", "source", "wrong", "held_removals", "paused"))
    slot = sight.slot
    return {
        "group_lag": group_lag,
        "source": {
            "connector": sight.connector,
            "slot": (
                None
                if slot is None
                else {
                    "status": slot.status,
                    "lag_bytes": slot.lag_bytes,
                    "retained_bytes": slot.retained_bytes,
                    "inactive_s": slot.inactive_s,
                }
            ),
            "heartbeat_s": {"database": sight.beat_at_database_s, "kafka": sight.beat_at_kafka_s},
            "faults": (
                None if sight.source.faults is None else [one.text for one in sight.source.faults]
            ),
            "age_s": _source_age_s(sight),
            "database_changed": sight.source.broken.value if sight.source.broken else None,
        },
        "wrong": {
            wanted: {"mentors": wrong.mentors, "oldest_s": round(wrong.oldest_s, 1)}
            for wanted, wrong in sight.wrong.items()
        },
        "held_removals": sight.held_removals,
        "paused": {
            "all": bool(sight.paused.get("all")),
            "mentors": sight.paused.get("mentor", 0),
        },
    }
