"""Builds a worker from the settings and runs it: the one place that knows every room. Only the
command line imports it.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import structlog

from hlf_sync import clients, packaged
from hlf_sync.clock import epoch_ms
from hlf_sync.config import policies
from hlf_sync.config.settings import Settings
from hlf_sync.core.decide import Rules
from hlf_sync.core.ending import Exit
from hlf_sync.core.fleet_report import reported
from hlf_sync.decode.decoder import Decoder
from hlf_sync.decode.schema import SchemaCache
from hlf_sync.dynamics.auth.credentials import RenewingCredentials
from hlf_sync.dynamics.client import DynamicsClient
from hlf_sync.kafka.anchor_topic import AnchorTopic
from hlf_sync.kafka.config import consumer_config
from hlf_sync.kafka.consumer_session import SourcePolicy
from hlf_sync.kafka.consumer_thread import KafkaSource
from hlf_sync.kafka.dead_letter_producer import LetterTopic, producer_config
from hlf_sync.kafka.group_reader import GroupReader
from hlf_sync.kafka.lag_reader import LagReader
from hlf_sync.pending.worker_page import WorkerPage
from hlf_sync.pipeline.dead_letter_forms import Origin
from hlf_sync.pipeline.gate import Gate
from hlf_sync.pipeline.patience import Dependencies
from hlf_sync.pipeline.stages import Outside, Policies, Stages, assemble
from hlf_sync.pipeline.worker import Worker
from hlf_sync.ports import DynamicsPort
from hlf_sync.postgres.connections import Dsn, Pool, open_pool
from hlf_sync.postgres.facts import FactsView
from hlf_sync.postgres.fleet_state import FleetTable
from hlf_sync.postgres.ledger import Ledger
from hlf_sync.registry.client import Registry
from hlf_sync.registry.schemas import RegistrySchemas, register_guarded
from hlf_sync.telemetry.logs import writer_in_use
from hlf_sync.telemetry.metrics import Metrics
from hlf_sync.telemetry.tracing_switch import Tracing, open_tracing
from hlf_sync.watch.credential_end import CredentialEnd
from hlf_sync.watch.fleet_watch import HEARTBEAT_TOPIC, REPLAY_GROUP, FleetWatch
from hlf_sync.watch.monitor import Monitor
from hlf_sync.watch.night_watch import NightWatch
from hlf_sync.watch.scrape import Scrape
from hlf_sync.watch.source_watch import ANCHOR_TOPIC, SourceWatch
from hlf_sync.watch.standby import Standby
from hlf_sync.watch.status import Status
from hlf_sync.watch.status_server import serve
from hlf_sync.watch.verified_listing import VerifiedListing
from hlf_sync.worker.announcing import announcing
from hlf_sync.worker.connector_restart import CONNECTOR
from hlf_sync.worker.connector_stream import ConnectorStream
from hlf_sync.worker.fleet_reporting import FleetReporting
from hlf_sync.worker.registration import Registration
from hlf_sync.worker.scheduler import Scheduler
from hlf_sync.worker.services import Services
from hlf_sync.worker.shadow import Shadow
from hlf_sync.worker.shutdown import bounded, stop_on_signals
from hlf_sync.worker.startup import reach_all, reach_postgres

_log = structlog.get_logger()

_CONNECT_ANSWER_S = 5.0
# Screening, claims, recording and the gate each keep one busy; two for whatever comes beside.
_POOL_SIZE = 6
_REVOCATION_S = 8.0


async def run_worker(settings: Settings, secret_file: Path | None = None) -> int:
    """Run one worker until a signal. The exit code is core/ending.py's."""
    stop = stop_on_signals(settings.shutdown_deadline_s)
    worker = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
    tracing = open_tracing(settings, worker)
    async with AsyncExitStack() as stack:
        stack.callback(tracing.close)
        pool = open_pool(_dsn(settings), size=_POOL_SIZE)
        stack.push_async_callback(pool.close)
        registry = clients.registry(settings)
        stack.push_async_callback(registry.aclose)
        admin = {"bootstrap.servers": settings.kafka_bootstrap_servers, **settings.kafka_options}
        lag = LagReader(admin, settings.changes_topic, settings.kafka_group_id)
        checks: dict[str, Callable[[], Awaitable[object]]] = {
            "PostgreSQL": lambda: reach_postgres(_dsn(settings), pool),
            "Kafka": lag.partitions,
            "schema registry": registry.ping,
        }
        if not await reach_all(checks, stop, settings.startup_deadline_s):
            return Exit.UNREACHABLE if not stop.is_set() else Exit.DONE
        return await _Assembly(
            settings, worker, secret_file, pool, registry, lag, stack, tracing
        ).run(stop)


@dataclass(kw_only=True, slots=True)
class _Seen:
    """What looks at this worker, the fleet and the source."""

    monitor: Monitor
    standby: Standby
    source: SourceWatch
    fleet: FleetWatch
    nights: NightWatch
    listing: VerifiedListing


class _Assembly:
    """One worker's parts, put together."""

    def __init__(
        self,
        settings: Settings,
        worker_name: str,
        secret_file: Path | None,
        pool: Pool,
        registry: Registry,
        lag: LagReader,
        stack: AsyncExitStack,
        tracing: Tracing,
    ) -> None:
        self._settings = settings
        self._secret_file = secret_file
        self._pool = pool
        self._registry = registry
        self._lag = lag
        self._stack = stack
        self._tracing = tracing
        self._worker_name = worker_name
        self._metrics = Metrics(epoch_ms)
        self._dependencies = Dependencies()
        self._rules = Rules(organization=settings.organization)
        self._facts = FactsView(pool)

    async def run(self, stop: asyncio.Event) -> int:
        settings = self._settings
        schemas = SchemaCache()
        dynamics, credentials = self._open_dynamics()
        stages = assemble(self._outside(schemas, dynamics), self._policies(), self._dependencies)
        stages.assignment.partition_count = await self._lag.partitions()
        worker = Worker(stages, revocation_s=_REVOCATION_S - 1)
        source = self._source(worker)
        scheduler = Scheduler(
            _dsn(settings), self._dependencies, is_live=settings.delivery == "live"
        )
        seen = self._seen(stages, source, scheduler)
        status = self._status(stages, source, scheduler, seen, credentials)
        registration = await self._serve(status, stages)
        services = {
            "scheduler": scheduler.run,
            "monitor": seen.monitor.run,
            "standby": seen.standby.run,
            "watch": seen.fleet.run,
            "source": seen.source.run,
            "verdict": status.watch_verdict,
            "nights": seen.nights.run,
            "registration": registration.run,
            "fleet report": self._reporting(status, scheduler, seen.fleet).run,
            **announcing(settings, self._pool, status, seen.nights, lambda: scheduler.is_leader),
            **Services(
                settings=settings,
                secret_file=self._secret_file,
                pool=self._pool,
                dependencies=self._dependencies,
                stages=stages,
                source=source,
                connector_stream=self._connector_stream,
                leads=lambda: scheduler.is_leader,
            ).by_name(dynamics, credentials, seen.listing),
        }
        return await bounded(worker.run(source, services, stop), stop, settings.shutdown_deadline_s)

    def _seen(self, stages: Stages, source: KafkaSource, scheduler: Scheduler) -> _Seen:
        settings = self._settings
        source_watch = self._source_watch(scheduler)
        return _Seen(
            monitor=Monitor(
                self._lag, stages.assignment, self._dependencies, lambda: scheduler.is_leader
            ),
            standby=Standby(self._group(), stages.assignment, source.renew),
            source=source_watch,
            fleet=self._watch(scheduler, stages.gate, source_watch),
            nights=NightWatch(
                self._pool, settings.time_zone, settings.nightly_time, lambda: scheduler.is_leader
            ),
            listing=VerifiedListing(
                every_s=settings.verify_every_s, now_s=asyncio.get_running_loop().time
            ),
        )

    def _status(
        self,
        stages: Stages,
        source: KafkaSource,
        scheduler: Scheduler,
        seen: _Seen,
        credentials: RenewingCredentials | None,
    ) -> Status:
        settings = self._settings
        return Status(
            nights=seen.nights,
            listing=seen.listing,
            credential_days_left=CredentialEnd(settings, epoch_ms).days_left,
            stages=stages,
            scheduler=scheduler,
            source=source,
            monitor=seen.monitor,
            standby=seen.standby,
            watch=seen.fleet,
            topic=settings.changes_topic,
            letters_topic=settings.dead_letters_topic,
            delivery=settings.delivery,
            token=credentials,
            now_ms=epoch_ms,
            identity={
                "worker": self._worker_name,
                "organization": settings.organization,
                "group_id": settings.kafka_group_id,
            },
        )

    async def _serve(self, status: Status, stages: Stages) -> Registration:
        """Open the HTTP endpoint; what tells the others where it is."""
        settings = self._settings
        runner = await serve(
            status,
            Scrape(status, self._metrics, writer_in_use(), self._tracing.spans),
            settings.http_host,
            settings.http_port,
            self._people().body,
            may_move=not settings.is_given("http_port"),
        )
        self._stack.push_async_callback(runner.cleanup)
        port = runner.addresses[0][1]
        _log.info(
            "started",
            worker=self._worker_name,
            port=port,
            delivery=settings.delivery,
            organization=settings.organization,
            host=urlsplit(settings.dynamics_base_url or "").hostname,
        )
        registration = Registration(
            self._pool,
            self._worker_name,
            settings.http_host,
            port,
            lambda: stages.assignment.partitions,
        )
        self._stack.push_async_callback(registration.leave)
        return registration

    def _reporting(self, status: Status, scheduler: Scheduler, watch: FleetWatch) -> FleetReporting:
        return FleetReporting(
            pool=self._pool,
            organization=self._settings.organization,
            reasons=lambda: reported(status.signs()),
            leads=lambda: scheduler.is_leader,
            term=lambda: scheduler.term,
            has_looked=lambda: watch.has_looked,
        )

    def _people(self) -> WorkerPage:
        return WorkerPage(
            dsn=partial(self._settings.secret, "postgres_dsn"),
            rules=self._rules,
            retry=policies.retry_policy(self._settings),
            cool_down_s=self._settings.breaker_cool_down_s,
            is_shadow=self._settings.delivery == "shadow",
        )

    def _outside(self, schemas: SchemaCache, dynamics: DynamicsPort) -> Outside:
        settings = self._settings
        return Outside(
            dynamics=dynamics,
            facts=self._facts,
            ledger=Ledger(self._pool, policies.ledger_policy(settings, self._worker_name)),
            fleet=FleetTable(self._pool, settings.organization, policies.breaker_policy(settings)),
            letters=self._letter_topic(),
            decoder=Decoder(settings.organization, schemas),
            schemas=RegistrySchemas(self._registry, schemas),
            meter=self._metrics,
            tracer=self._tracing.tracer,
        )

    def _policies(self) -> Policies:
        settings = self._settings
        return Policies(
            origin=Origin(settings.changes_topic, self._worker_name),
            rules=self._rules,
            retry=policies.retry_policy(settings),
            breaker=policies.breaker_policy(settings),
            pace=policies.pacing_policy(settings),
            limit=policies.limit_policy(settings),
            request_timeout_s=settings.request_timeout_s,
            lease_s=settings.lease_s,
            is_shadow=settings.delivery == "shadow",
            auth_retry_s=settings.auth_retry_s,
            schema_patience_s=settings.schema_patience_s,
        )

    def _source(self, worker: Worker) -> KafkaSource:
        settings = self._settings
        return KafkaSource(
            consumer_config(
                bootstrap_servers=settings.kafka_bootstrap_servers or "",
                group_id=settings.kafka_group_id,
                options=settings.kafka_options,
            ),
            SourcePolicy(
                settings.changes_topic,
                revocation_s=_REVOCATION_S,
                reads_trace=self._tracing.is_on,
            ),
            worker,
            asyncio.get_running_loop(),
        )

    def _kafka(self) -> dict[str, Any]:
        settings = self._settings
        return {"bootstrap.servers": settings.kafka_bootstrap_servers, **settings.kafka_options}

    def _group(self) -> GroupReader:
        settings = self._settings
        return GroupReader(self._kafka(), settings.changes_topic, settings.kafka_group_id)

    def _open_dynamics(self) -> "tuple[DynamicsClient | Shadow, RenewingCredentials | None]":
        """The client and its credentials; in shadow there is neither."""
        settings = self._settings
        if settings.delivery == "shadow":
            return Shadow(), None
        transport = clients.open_dynamics_transport(settings, settings.pace_concurrency)
        credentials = clients.dynamics_credentials(settings, self._secret_file, transport)
        client = clients.dynamics_client(settings, credentials, transport)
        self._stack.push_async_callback(client.aclose)
        return client, credentials

    def _letter_topic(self) -> LetterTopic:
        settings, schema = self._settings, packaged.schema("dead_letter.avsc")
        topic = LetterTopic(
            producer_config(
                bootstrap_servers=settings.kafka_bootstrap_servers or "",
                options=settings.kafka_options,
            ),
            settings.dead_letters_topic,
            lambda: register_guarded(
                self._registry, f"{settings.dead_letters_topic}-value", schema
            ),
        )
        self._stack.callback(topic.close)
        return topic

    def _source_watch(self, scheduler: Scheduler) -> SourceWatch:
        settings = self._settings
        return SourceWatch(
            pool=self._pool,
            anchors=AnchorTopic(self._kafka(), ANCHOR_TOPIC),
            stream=self._connector_stream(),
            counts=self._metrics,
            organization=settings.organization,
            lease_s=settings.lease_s,
            late_effect_s=settings.late_effect_s,
            leads=lambda: scheduler.is_leader,
        )

    def _connector_stream(self) -> ConnectorStream:
        settings = self._settings
        rest = partial(clients.connect_rest, settings, timeout_s=_CONNECT_ANSWER_S)
        return ConnectorStream(rest if settings.connect_url else None, CONNECTOR, _dsn(settings))

    def _watch(self, scheduler: Scheduler, gate: Gate, source_watch: SourceWatch) -> FleetWatch:
        settings = self._settings
        return FleetWatch(
            pool=self._pool,
            rules=self._rules,
            heartbeats=self._lag.of(HEARTBEAT_TOPIC, settings.kafka_group_id),
            registry=self._registry.ping,
            replayed=self._lag.of(settings.dead_letters_topic, REPLAY_GROUP),
            connector_status=(
                (lambda: _connector_status(settings)) if settings.connect_url else None
            ),
            leads=lambda: scheduler.is_leader,
            term=lambda: scheduler.term,
            letters=lambda: scheduler.open_letters,
            now_ms=lambda: int(gate.database_now_s * 1000),
            source=lambda: source_watch.sight,
        )


def _connector_status(settings: Settings) -> Mapping[str, Any] | None:
    with clients.connect_rest(settings, timeout_s=_CONNECT_ANSWER_S) as connect:
        return connect.status(CONNECTOR)


def _dsn(settings: Settings) -> Dsn:
    return partial(settings.secret, "postgres_dsn")
