"""The parts of one replay command, built from the settings: pool, registry, dead-letter topic.
Called by the command line.

The replay's own small wiring: it shares no part with a worker, and holds no credentials of
Dynamics.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from hlf_sync import clients
from hlf_sync.config.settings import Settings
from hlf_sync.core.decide import Rules
from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.kafka.dead_letter_topic import DeadLetterTopic
from hlf_sync.postgres.connections import NOT_SET_UP, Pool, open_pool
from hlf_sync.postgres.dsn import is_dsn
from hlf_sync.registry.client import Registry
from hlf_sync.replay.desk import Desk
from hlf_sync.replay.reader import LetterReader
from hlf_sync.replay.standings import Standings

T = TypeVar("T")

_PAUSE_S = 0.5
# An attempt that lasted so long had reached everything once.
_WORKED_S = 15.0


@dataclass(frozen=True, slots=True)
class Workplace:
    """Everything that a replay command reads with."""

    settings: Settings
    kafka: dict[str, Any]
    pool: Pool
    registry: Registry
    log: DeadLetterTopic
    reader: LetterReader
    standings: Standings

    def desk(self, purpose: str) -> Desk:
        """The locked connection to write from."""
        return Desk(dsn_of(self.settings), purpose, self.settings.organization)


def dsn_of(settings: Settings) -> str:
    """The connection string as it is now."""
    return settings.secret("postgres_dsn")


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Workplace]:
    """Open the parts; nothing is asked of them yet. Raises `SettingsError` for what is missing."""
    settings.require("kafka_bootstrap_servers", "schema_registry_url", "postgres_dsn")
    kafka: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        **settings.kafka_options,
    }
    if not is_dsn(dsn_of(settings)):
        raise SettingsError("HLF_SYNC_POSTGRES_DSN is not a connection string")
    log = DeadLetterTopic(kafka, settings.dead_letters_topic)
    pool = open_pool(partial(dsn_of, settings), size=1)
    logging.getLogger("psycopg.pool").setLevel(
        logging.CRITICAL
    )  # it would print libpq's text, once a second
    try:
        await pool.open()
        async with clients.registry(settings) as registry:
            reader = LetterReader(log, registry)
            yield Workplace(
                settings,
                kafka,
                pool,
                registry,
                log,
                reader,
                Standings(pool, Rules(organization=settings.organization)),
            )
    except NOT_SET_UP as error:
        raise SettingsError(
            f"the database is not ready for hlf-sync ({type(error).__name__}): run `hlf-sync"
            " migrate`, then connectors/sql"
        ) from error
    finally:
        await pool.close()
        log.close()


async def patiently(
    attempt: Callable[[], Awaitable[T]], *, deadline_s: float, say: Callable[[str], None]
) -> T:
    """The answer of `attempt`, begun anew whenever something cannot be reached; gives up after
    `deadline_s` of nothing but that.
    """
    give_up_at_s, said = monotonic() + deadline_s, ""
    while True:
        began_s = monotonic()
        try:
            return await attempt()
        except DependencyError as error:
            if monotonic() - began_s > _WORKED_S:
                give_up_at_s, said = monotonic() + deadline_s, ""
            if monotonic() >= give_up_at_s:
                raise
            if str(error) != said:
                said = str(error)
                say(f"{said}; waiting up to {give_up_at_s - monotonic():.0f} s")
            await asyncio.sleep(_PAUSE_S)
