"""Builds a worker from the settings and runs it: the one place that knows every room. Only the command line imports it."""

import asyncio
import os
import random
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import httpx
import structlog
from pydantic import SecretStr

from consumer import packaged
from consumer.clock import epoch_ms
from consumer.connector import Standing, revive
from consumer.core.breaker import BreakerPolicy
from consumer.core.decide import Rules
from consumer.core.limiter import Limiter, LimitPolicy
from consumer.core.mass_removal import MassRemovalPolicy
from consumer.core.mentor_queue import MentorQueue
from consumer.core.model import ContactId, Operation
from consumer.core.pacing import Pacing, PacingPolicy
from consumer.core.retry import RetryPolicy
from consumer.decode.decoder import Decoder
from consumer.decode.registry import Registry
from consumer.decode.schema import SchemaCache
from consumer.deliver.client import DynamicsClient
from consumer.deliver.contract import DynamicsContract
from consumer.deliver.credentials import CredentialProvider, RenewingCredentials
from consumer.deliver.entra import ClientCertificate, ClientSecret, EntraApplication, ManagedIdentitySource, credentials_for
from consumer.deliver.transport import open_transport
from consumer.errors import DependencyError, HaltError, InvariantError
from consumer.facts.view import FactsView
from consumer.lag import LagReader
from consumer.pipeline.assignment import Assignment
from consumer.pipeline.auth_watch import watch_credentials
from consumer.pipeline.call import Call, CallPolicy
from consumer.pipeline.delivery import Delivery
from consumer.pipeline.endings import Endings
from consumer.pipeline.gate import Gate
from consumer.pipeline.intake import Intake
from consumer.pipeline.letters import Letters, Origin
from consumer.pipeline.patience import Dependencies
from consumer.pipeline.recording import Recording
from consumer.pipeline.schemas import Schemas
from consumer.pipeline.screening import Screening, ScreeningPolicy
from consumer.pipeline.worker import Stages, Worker
from consumer.ports import CallResult, DynamicsPort
from consumer.postgres import Pool, connect, open_pool
from consumer.record.fleet import FleetTable
from consumer.record.ledger import Ledger, LedgerPolicy
from consumer.record.letter_topic import LetterTopic, producer_config
from consumer.record.metrics import Metrics
from consumer.registry_schemas import RegistrySchemas
from consumer.scheduler import Scheduler
from consumer.settings import Settings, read_secret
from consumer.source.consumer import KafkaSource, SourcePolicy, consumer_config
from consumer.status import Observed, Status, serve

_log = structlog.get_logger()

EXIT_DONE, EXIT_UNREACHABLE, EXIT_CUT_SHORT = 0, 4, 5

_MONITOR_S = 2.0
_FLEET_LOOK_S = 0.25
_REVIVE_S = 15.0
# As connectors/hlf-mentor-cdc.json names it.
CONNECTOR = "hlf-mentor-cdc"
# Screening, claims, recording and the gate each keep one busy; two for whatever comes beside.
_POOL_SIZE = 6
_REVOCATION_S = 8.0


async def run_worker(settings: Settings, secret_file: Path | None = None) -> int:
    """Run one worker until a signal. The exit code is contract.md's."""
    stop = _stop_on_signals()
    async with AsyncExitStack() as stack:
        pool = open_pool(_dsn(settings), size=_POOL_SIZE)
        stack.push_async_callback(pool.close)
        registry = Registry(settings.schema_registry_url or "")
        stack.push_async_callback(registry.aclose)
        admin = {"bootstrap.servers": settings.kafka_bootstrap_servers, **settings.kafka_options}
        lag = LagReader(admin, settings.changes_topic, settings.kafka_group_id)
        if not await _reach_all(settings, pool, registry, lag, stop):
            return EXIT_UNREACHABLE if not stop.is_set() else EXIT_DONE
        return await _Assembly(settings, secret_file, pool, registry, lag, stack).run(stop)


class _Assembly:
    """One worker's parts, put together."""

    def __init__(
        self, settings: Settings, secret_file: Path | None, pool: Pool, registry: Registry, lag: LagReader, stack: AsyncExitStack
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._registry = registry
        self._lag = lag
        self._stack = stack
        self._worker_name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        self._metrics = Metrics(epoch_ms)
        self._dependencies = Dependencies()
        self._rules = Rules(organization=settings.organization)
        self._secret_file = secret_file
        self._observed = Observed()

    async def run(self, stop: asyncio.Event) -> int:
        settings = self._settings
        schemas = SchemaCache()
        dynamics, credentials = self._open_dynamics()
        stages = self._stages(schemas, dynamics)
        stages.assignment.partition_count = await self._lag.partitions()
        worker = Worker(stages, revocation_s=_REVOCATION_S - 1)
        Schemas(RegistrySchemas(self._registry, schemas), stages.intake, self._dependencies, patience_s=settings.schema_patience_s)
        source = KafkaSource(
            consumer_config(
                bootstrap_servers=settings.kafka_bootstrap_servers or "", group_id=settings.kafka_group_id, options=settings.kafka_options
            ),
            SourcePolicy(settings.changes_topic, revocation_s=_REVOCATION_S),
            worker,
            asyncio.get_running_loop(),
        )
        scheduler = Scheduler(_dsn(settings), self._dependencies, is_live=settings.delivery == "live")
        status = Status(
            stages=stages,
            metrics=self._metrics,
            scheduler=scheduler,
            source=source,
            observed=self._observed,
            topic=settings.changes_topic,
            delivery=settings.delivery,
            now_ms=epoch_ms,
        )
        runner = await serve(status, settings.http_host, settings.http_port)
        self._stack.push_async_callback(runner.cleanup)
        _log.info("started", worker=self._worker_name, port=runner.addresses[0][1])
        services: dict[str, Callable[[], Awaitable[None]]] = {
            "fleet": lambda: self._watch_fleet(stages.gate),
            "scheduler": scheduler.run,
            "monitor": lambda: self._monitor(stages, scheduler),
        }
        if settings.connect_url:
            services["connector"] = lambda: self._revive_connector(settings.connect_url or "", scheduler)
        if credentials is not None:
            sign_in = _SignIn(credentials)
            services["credentials"] = lambda: watch_credentials(stages.gate, sign_in, retry_s=settings.auth_retry_s)
        return await _bounded(worker.run(source, services, stop), stop, settings.shutdown_deadline_s)

    def _stages(self, schemas: SchemaCache, dynamics: DynamicsPort) -> Stages:
        settings, dependencies, metrics = self._settings, self._dependencies, self._metrics
        breaker = BreakerPolicy(settings.breaker_failure_threshold, settings.breaker_cool_down_s, probe_s=settings.lease_s)
        guard = MassRemovalPolicy(settings.mass_removal_ratio, settings.mass_removal_min, settings.mass_removal_window_s)
        ledger = Ledger(self._pool, LedgerPolicy(self._worker_name, settings.lease_s, settings.late_effect_s, guard))
        facts = FactsView(self._pool)
        queue, assignment = MentorQueue(), Assignment()
        gate = Gate(FleetTable(self._pool, settings.organization, breaker), breaker, dependencies)
        endings = Endings(queue, assignment, metrics)
        letters = Letters(
            topic=self._letter_topic(),
            ledger=ledger,
            gate=gate,
            endings=endings,
            assignment=assignment,
            meter=metrics,
            limiter=Limiter(
                LimitPolicy(settings.dead_letter_limit_ratio, settings.dead_letter_limit_window, settings.dead_letter_limit_run)
            ),
            dependencies=dependencies,
            origin=Origin(settings.changes_topic, self._worker_name),
        )
        recording = Recording(ledger=ledger, endings=endings, letters=letters, meter=metrics, dependencies=dependencies)
        pacing = Pacing(PacingPolicy(settings.pace_requests_per_s, settings.pace_burst, settings.pace_concurrency))
        retry = RetryPolicy(
            settings.retry_max_attempts,
            settings.retry_base_delay_s,
            settings.retry_max_delay_s,
            settings.retry_jitter_s,
            settings.delivery_deadline_s,
        )
        call = Call(
            dynamics=dynamics,
            gate=gate,
            pacing=pacing,
            letters=letters,
            recording=recording,
            meter=metrics,
            policy=CallPolicy(self._rules, retry, settings.request_timeout_s),
            random=random.random,
        )
        delivery = Delivery(
            facts=facts,
            ledger=ledger,
            gate=gate,
            pacing=pacing,
            call=call,
            recording=recording,
            endings=endings,
            dependencies=dependencies,
            rules=self._rules,
            lease_s=settings.lease_s,
        )
        screening = Screening(
            queue=queue,
            facts=facts,
            ledger=ledger,
            endings=endings,
            letters=letters,
            meter=metrics,
            dependencies=dependencies,
            policy=ScreeningPolicy(self._rules, self._worker_name, settings.delivery == "shadow", settings.retry_max_attempts),
            deliver=delivery.put,
        )
        intake = Intake(Decoder(settings.organization, schemas), assignment, queue, metrics)
        return Stages(
            assignment, queue, intake, screening, delivery, recording, letters, endings, gate, pacing, ledger, dependencies
        )

    def _open_dynamics(self) -> tuple[DynamicsPort, CredentialProvider | None]:
        """The client and its credentials; in shadow there is neither."""
        settings = self._settings
        if settings.delivery == "shadow":
            return _Shadow(), None
        transport = open_transport(
            ca_file=settings.dynamics_ca_file, connections=settings.pace_concurrency, request_timeout_s=settings.request_timeout_s
        )
        credentials = _credentials(settings, self._secret_file, transport)
        client = DynamicsClient(_contract(settings), credentials, transport, request_timeout_s=settings.request_timeout_s)
        self._stack.push_async_callback(client.aclose)
        return client, credentials

    def _letter_topic(self) -> LetterTopic:
        settings, schema = self._settings, packaged.schema("dead_letter.avsc")
        topic = LetterTopic(
            producer_config(bootstrap_servers=settings.kafka_bootstrap_servers or "", options=settings.kafka_options),
            settings.dead_letters_topic,
            lambda: self._registry.register(f"{settings.dead_letters_topic}-value", schema),
        )
        self._stack.callback(topic.close)
        return topic

    async def _watch_fleet(self, gate: Gate) -> None:
        """Listen for changes of the shared state; look again at least every quarter of a second."""
        while True:
            try:
                async with await connect(_dsn(self._settings)) as connection:
                    await connection.execute("LISTEN hlf_sync_fleet")
                    while True:
                        await gate.refresh()
                        async for _ in connection.notifies(timeout=_FLEET_LOOK_S, stop_after=1):
                            pass
            except (DependencyError, OSError) as error:
                self._dependencies.failed("PostgreSQL", type(error).__name__, asyncio.get_running_loop().time())
                await asyncio.sleep(_FLEET_LOOK_S)

    async def _revive_connector(self, url: str, scheduler: Scheduler) -> None:
        """Connect restarts no failed task: the leader does, where the cause passes by itself, so that no outage needs a person's restart."""
        while True:
            await asyncio.sleep(_REVIVE_S)
            if not scheduler.is_leader:
                continue
            try:
                standing = await asyncio.to_thread(revive, url, CONNECTOR)
            except DependencyError as error:
                _log.warning("connector_unknown", error_code=error.detail)
            else:
                if standing is Standing.FAILED:
                    _log.error("connector_failed")

    async def _monitor(self, stages: Stages, scheduler: Scheduler) -> None:
        while True:
            try:
                partitions = stages.assignment.partitions
                self._observed.lag = await self._lag.lag(partitions)
                if scheduler.is_leader:
                    every = list(range(stages.assignment.partition_count))
                    self._observed.group_lag = sum((await self._lag.lag(every)).values())
                stages.dependencies.answered("Kafka", asyncio.get_running_loop().time())
            except DependencyError as error:
                stages.dependencies.failed(error.dependency, error.detail, asyncio.get_running_loop().time())
            await asyncio.sleep(_MONITOR_S)


class _Shadow:
    """Stands where Dynamics would: in shadow nothing may get here."""

    async def call(self, contact_id: ContactId, operation: Operation) -> CallResult:
        """Refuse."""
        raise InvariantError(f"{operation} of {contact_id} in shadow")


class _SignIn:
    """Whether the credentials are accepted, asked of the token endpoint."""

    def __init__(self, credentials: CredentialProvider) -> None:
        self._credentials = credentials

    async def is_accepted(self) -> bool:
        """Whether a token can be had now."""
        try:
            await self._credentials.token()
        except (HaltError, DependencyError):
            return False
        return True


async def _reach_all(settings: Settings, pool: Pool, registry: Registry, lag: LagReader, stop: asyncio.Event) -> bool:
    """Wait for what a worker can't start without, visibly; False when the deadline passed or a signal came."""
    checks: dict[str, Callable[[], Awaitable[object]]] = {
        "PostgreSQL": lambda: _reach_postgres(_dsn(settings), pool),
        "Kafka": lag.partitions,
        "schema registry": registry.ping,
    }
    deadline_s = asyncio.get_running_loop().time() + settings.startup_deadline_s
    for name, check in checks.items():
        said = None
        while not stop.is_set():
            try:
                await check()
                break
            except DependencyError as error:
                if error.detail != said:
                    said = error.detail
                    _log.warning("waiting_for", dependency=name, error_code=error.detail)
                if asyncio.get_running_loop().time() >= deadline_s:
                    _log.error("unreachable", dependency=name, error_code=error.detail, duration_s=settings.startup_deadline_s)
                    return False
                await asyncio.sleep(0.5)
    return not stop.is_set()


async def _reach_postgres(dsn: str, pool: Pool) -> None:
    if pool.closed:
        # A refused connection says so at once; the pool would keep it to itself until its time-out, and as long again when it is closed.
        async with await connect(dsn):
            pass
        await pool.open(wait=False)
    await FactsView(pool).ping()


async def _bounded(work: Awaitable[None], stop: asyncio.Event, deadline_s: float) -> int:
    """Run until the work ends; after a signal no longer than the deadline. A second signal ends the process at once."""
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    done, _ = await asyncio.wait([task], timeout=deadline_s)
    if done:
        task.result()
        _log.info("stopped")
        return EXIT_DONE
    _log.error("cut_short", duration_s=deadline_s)
    task.cancel()
    return EXIT_CUT_SHORT


def _stop_on_signals() -> asyncio.Event:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(EXIT_CUT_SHORT)
        _log.info("stopping", signal=number.name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop


def _contract(settings: Settings) -> DynamicsContract:
    return DynamicsContract(
        settings.dynamics_base_url or "",
        api_version=settings.dynamics_api_version,
        entity_set=settings.dynamics_entity_set,
        visibility_column=settings.dynamics_visibility_column,
    )


def _credentials(settings: Settings, secret_file: Path | None, transport: httpx.AsyncBaseTransport) -> RenewingCredentials:
    contract = _contract(settings)
    if settings.dynamics_managed_identity:
        source = ManagedIdentitySource(settings.dynamics_client_id, contract.base_url, transport)
        return RenewingCredentials(source, auth_retry_s=settings.auth_retry_s)
    application = EntraApplication(
        settings.dynamics_tenant_id or "", settings.dynamics_client_id or "", contract.base_url, settings.dynamics_authority
    )
    certificate = settings.dynamics_client_certificate_file
    key = (
        ClientCertificate(certificate, lambda: settings.dynamics_client_certificate_password)
        if certificate is not None
        else ClientSecret(lambda: _secret(settings, secret_file))
    )
    return credentials_for(application, key, transport, auth_retry_s=settings.auth_retry_s)


def _secret(settings: Settings, secret_file: Path | None) -> SecretStr:
    """The secret as it is now: from its file, which may have been replaced, else from the settings."""
    if secret_file is not None:
        return SecretStr(read_secret(secret_file, "HLF_SYNC_DYNAMICS_CLIENT_SECRET_FILE"))
    return settings.dynamics_client_secret or SecretStr("")


def _dsn(settings: Settings) -> str:
    return settings.postgres_dsn.get_secret_value() if settings.postgres_dsn else ""
