"""The steps `reconcile` and `verify`: the ledger against what would be decided now, then Dynamics'
listing against the ledger (requirement R63). Both ask for the delivery of what differs, `verify`
unless `HLF_SYNC_VERIFY_DRIFT` says `alert`.

They do nothing that `hlf-sync reconcile --repair` and `reconcile --verify --repair` do not.
"""

import asyncio
from functools import partial
from typing import assert_never

import structlog

from hlf_sync.errors import DependencyError
from hlf_sync.nightly.step import Counts, NightTools, Progress, Skip
from hlf_sync.postgres import listing_pass as books
from hlf_sync.postgres.connections import Pool, open_pool
from hlf_sync.reconcile.column import Column
from hlf_sync.reconcile.inspection import Inspection, Wish
from hlf_sync.reconcile.listing_pass import (
    PassEnd,
    PassFinished,
    PassOvertaken,
    PassStopped,
    run_pass,
)
from hlf_sync.reconcile.parts import column_reader, patience
from hlf_sync.reconcile.report import Report

_log = structlog.get_logger()

_POOL_SIZE = 2
_DUPLICATES_DAYS = 30
_SETTLE_S = 3.0
# How long `verify` waits while the circuit is open or a halt holds, before it is tried again later.
_GATE_PATIENCE_S = 600.0


async def compare(place: NightTools, _progress: Progress) -> Counts:
    """The books alone."""
    return _counts(await _inspect(place))


async def verify(place: NightTools, _progress: Progress) -> Counts | Skip:
    """What Dynamics shows, in pages and at the pace that the workers leave. An attempt goes on where
    the one before was broken off: the pass keeps its bookmark in PostgreSQL.
    """
    settings = place.settings
    if settings.delivery == "shadow" or settings.dynamics_base_url is None:
        return Skip("nothing is called: shadow, or no Dynamics in the settings")
    settings.require_credentials()
    match await _pass(place):
        case PassFinished(counts):
            return counts
        case PassStopped(reason):
            raise DependencyError("Dynamics", reason)
        case PassOvertaken():
            raise DependencyError("the listing's pass", "another process goes on with it")
        case _ as never:
            assert_never(never)


async def _pass(place: NightTools) -> PassEnd:
    """Wait while the leader's own verification is at it: it takes minutes at most."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + _GATE_PATIENCE_S
    while True:
        async with books.locked(place.connection) as is_ours:
            if is_ours:
                return await run_pass(place.settings, place.dsn, partial(_column, place))
        if loop.time() > until_s:
            raise DependencyError("the listing's pass", "another process is at it")
        await asyncio.sleep(1.0)


def _column(place: NightTools, pool: Pool) -> Column:
    return column_reader(place.settings, pool, _GATE_PATIENCE_S, place.secret_file, _say)


async def _inspect(place: NightTools) -> Report:
    settings = place.settings
    wish = Wish((), True, _DUPLICATES_DAYS, _SETTLE_S, patience(settings))
    async with open_pool(place.dsn, size=_POOL_SIZE) as pool:
        return await Inspection(settings, pool, wish, None, lambda _count: None).run()


def _counts(report: Report) -> Counts:
    counts = report.content()["counts"]
    names = ("differences", "repaired", "left", "duplicates", "unexplained", "repeated_reminders")
    return {"checked": report.checked, **{name: counts[name] for name in names}}


def _say(line: str) -> None:
    _log.info("nightly_verify", reason=line)
