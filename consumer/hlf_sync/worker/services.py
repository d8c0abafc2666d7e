"""What runs beside the stages, each where there is something to do for it: news of the fleet, the
credentials, and the leader's errands. Made by the wiring.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hlf_sync import clients
from hlf_sync.config.settings import Settings
from hlf_sync.dynamics.auth.credentials import RenewingCredentials
from hlf_sync.dynamics.client import DynamicsClient
from hlf_sync.kafka.consumer_thread import KafkaSource
from hlf_sync.kafka.replay_offset_keeper import keep_offsets
from hlf_sync.nightly.clockwork import Clockwork
from hlf_sync.pipeline.auth_watch import watch_credentials
from hlf_sync.pipeline.patience import Dependencies
from hlf_sync.pipeline.stages import Stages
from hlf_sync.ports import DynamicsPort
from hlf_sync.postgres.connections import Dsn, Pool
from hlf_sync.watch.fleet_watch import REPLAY_GROUP, SLOT
from hlf_sync.watch.verified_listing import VerifiedListing
from hlf_sync.worker.connector_restart import revive_connector
from hlf_sync.worker.connector_stream import ConnectorStream
from hlf_sync.worker.credential_sign_in import CredentialSignIn
from hlf_sync.worker.fleet_listener import follow_fleet
from hlf_sync.worker.memory import keep_flat
from hlf_sync.worker.replay_offsets import keep_replay_offsets
from hlf_sync.worker.source_proof import prove_source
from hlf_sync.worker.verification import Verification

ByName = dict[str, Callable[[], Awaitable[None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """`leads` says whether this worker is the leader at this moment."""

    settings: Settings
    secret_file: Path | None
    pool: Pool
    dependencies: Dependencies
    stages: Stages
    source: KafkaSource
    connector_stream: Callable[[], ConnectorStream]
    leads: Callable[[], bool]

    def by_name(
        self,
        dynamics: DynamicsPort,
        credentials: RenewingCredentials | None,
        listing: VerifiedListing,
    ) -> ByName:
        """By name; each runs until the worker ends."""
        return {
            **self._always(),
            **self._of_connect(),
            **self._of_credentials(dynamics, credentials),
            **self._of_listing(listing),
        }

    def _always(self) -> ByName:
        settings, stages = self.settings, self.stages
        kafka = {"bootstrap.servers": settings.kafka_bootstrap_servers, **settings.kafka_options}
        return {
            "fleet": lambda: follow_fleet(
                self._dsn, stages.gate, self.dependencies, lambda: not stages.queue.size
            ),
            "memory": lambda: keep_flat(lambda: not stages.queue.size),
            "nightly": Clockwork(settings, self.secret_file, self._dsn, self.leads).run,
            "replay offsets": lambda: keep_replay_offsets(
                self.pool,
                lambda: keep_offsets(kafka, settings.dead_letters_topic, REPLAY_GROUP),
                self.leads,
            ),
        }

    def _of_connect(self) -> ByName:
        if not self.settings.connect_url:
            return {}
        url, login = self.settings.connect_url, clients.connect_login(self.settings)
        return {
            "connector": lambda: revive_connector(
                url, login, self.leads, self.connector_stream().finish
            ),
            "source proof": lambda: prove_source(self.pool, url, login, SLOT, self.leads),
        }

    def _of_credentials(
        self, dynamics: DynamicsPort, credentials: RenewingCredentials | None
    ) -> ByName:
        """None in shadow, which has no credentials."""
        if credentials is None or not isinstance(dynamics, DynamicsClient):
            return {}
        sign_in = CredentialSignIn(credentials, dynamics)
        return {
            "credentials": lambda: watch_credentials(
                self.stages.gate,
                sign_in,
                retry_s=self.settings.auth_retry_s,
                set_aside=self.source.set_aside,
            )
        }

    def _of_listing(self, listing: VerifiedListing) -> ByName:
        """None where nothing is called, or nothing is to be verified."""
        if self.settings.delivery == "shadow" or not self.settings.verify_every_s:
            return {}
        verification = Verification(
            settings=self.settings,
            secret_file=self.secret_file,
            dsn=self._dsn,
            leads=self.leads,
            watch=listing,
        )
        return {"verification": verification.run}

    @property
    def _dsn(self) -> Dsn:
        return partial(self.settings.secret, "postgres_dsn")
