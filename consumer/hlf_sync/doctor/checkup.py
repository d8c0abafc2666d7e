"""One check-up: which examinations there are for these settings, and what they found, in one order.
Called by the command line.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hlf_sync.config.settings import Settings
from hlf_sync.core.ending import Exit
from hlf_sync.doctor import (
    connect,
    database,
    dynamics,
    fleet,
    kafka,
    preparation,
    registry,
    source,
    web,
)
from hlf_sync.doctor.clocks import CHECK as CLOCK
from hlf_sync.doctor.clocks import Clocks
from hlf_sync.doctor.examination import Examination, examine_all
from hlf_sync.doctor.finding import Finding, Severity, fail, skipped

_POSTGRES_FIX = (
    "look at HLF_SYNC_POSTGRES_DSN (host, role, password, sslmode), pg_hba.conf and the server;"
    " workers wait meanwhile"
)
_ORDER = (
    database.REACH,
    database.RELEASE,
    database.POOLER,
    database.ROLE,
    database.CDC_ROLE,
    database.COPY,
    database.SCHEMA,
    database.VIEW,
    source.PUBLICATION,
    source.SLOT,
    source.TABLES,
    source.IDENTITIES,
    source.HEARTBEAT,
    fleet.CIRCUIT,
    fleet.HALTS,
    fleet.PAUSES,
    fleet.LEADER,
    fleet.LETTERS,
)
EVERY = (preparation.CHECK, *_ORDER, connect.REACH, connect.RUNS, connect.CONFIG, connect.POSITION,
         kafka.REACH, *kafka.TOPICS, kafka.PROTOCOL, kafka.GROUP, registry.REACH,
         registry.LETTERS, dynamics.ENDS, dynamics.TOKEN, dynamics.WHO_AM_I, web.REACH,
         web.ROLE, web.KEYS, CLOCK)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Checkup:
    """All findings, and whether a part that a worker cannot start without did not answer."""

    findings: tuple[Finding, ...]
    is_needed_one_away: bool = False

    @property
    def verdict(self) -> Severity:
        """The worst."""
        found = {finding.verdict for finding in self.findings}
        return next(
            (verdict for verdict in (Severity.FAIL, Severity.WARN) if verdict in found), Severity.OK
        )

    @property
    def exit_code(self) -> Exit:
        """2: the settings are to blame. 4: PostgreSQL, Kafka or the registry does not answer. 1:
        something else is wrong. 0: nothing is.
        """
        if self.findings[0].verdict is Severity.FAIL:
            return Exit.REFUSED
        if self.is_needed_one_away:
            return Exit.UNREACHABLE
        return Exit.DIFFERS if self.verdict is Severity.FAIL else Exit.DONE


def without_settings(problem: str) -> Checkup:
    """Settings that cannot even be read."""
    others = tuple(skipped(check, f"because of {preparation.CHECK}") for check in EVERY[1:])
    return Checkup((fail(preparation.CHECK, problem, "correct the setting"), *others))


async def check_up(settings: Settings, secret_file: Path | None, unknown: Sequence[str]) -> Checkup:
    """Ask every part, side by side."""
    clocks = Clocks()
    examinations = (
        _postgres(settings, clocks),
        connect.examination(settings),
        kafka.examination(settings),
        registry.examination(settings),
        dynamics.examination(settings, secret_file, clocks),
        web.examination(settings),
    )
    found = await examine_all(examinations)
    is_away = any(
        one.is_needed and finding.is_unreachable for one, findings in found for finding in findings
    )
    findings = (finding for _, several in found for finding in several)
    return Checkup((preparation.look_at(settings, unknown), *findings, clocks.finding()), is_away)


def _postgres(settings: Settings, clocks: Clocks) -> Examination:
    return Examination(
        "PostgreSQL", _ORDER, lambda: _look(settings, clocks), _POSTGRES_FIX, is_needed=True
    )


async def _look(settings: Settings, clocks: Clocks) -> AsyncIterator[Finding]:
    if settings.postgres_dsn is None:
        yield skipped(database.REACH, "HLF_SYNC_POSTGRES_DSN is not set")
        return
    config = connect.wanted(settings).config
    publication, slot = config["publication.name"], config["slot.name"]
    checks: dict[str, database.Check] = {
        database.REACH: partial(database.server, clocks=clocks),
        database.RELEASE: database.release,
        database.POOLER: partial(database.pooler, dsn=settings.postgres_dsn.get_secret_value()),
        database.ROLE: database.role,
        database.CDC_ROLE: partial(database.cdc_role, publication=publication),
        database.COPY: database.cluster_copy,
        database.SCHEMA: database.schema,
        database.VIEW: database.view,
        source.PUBLICATION: partial(
            source.publication, name=publication, organization=settings.organization
        ),
        source.SLOT: partial(source.slot, name=slot),
        source.TABLES: partial(source.tables, name=publication),
        source.IDENTITIES: partial(source.identities, name=publication),
        source.HEARTBEAT: source.heartbeat,
        fleet.CIRCUIT: partial(fleet.circuit, organization=settings.organization),
        fleet.HALTS: fleet.halts,
        fleet.PAUSES: fleet.pauses,
        fleet.LEADER: fleet.leader,
        fleet.LETTERS: fleet.letters,
    }
    async with database.connected(settings.postgres_dsn.get_secret_value()) as connection:
        for name, check in checks.items():
            yield await database.ask(connection, name, check)


def check_up_now(settings: Settings, secret_file: Path | None, unknown: Sequence[str]) -> Checkup:
    """The same, for who has no event loop."""
    return asyncio.run(check_up(settings, secret_file, unknown))
