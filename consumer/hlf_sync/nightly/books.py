"""The steps `reconcile` and `verify`: the ledger against what would be decided now, then the one
column in Dynamics against the ledger (requirement R63). Both ask for the delivery of what differs.

They are `hlf-sync reconcile --repair` and `hlf-sync reconcile --verify --repair`, and do nothing
that the command does not.
"""

from contextlib import AsyncExitStack

import structlog

from hlf_sync.nightly.step import Counts, Progress, Skip, Workplace
from hlf_sync.postgres.connections import open_pool
from hlf_sync.reconcile.inspection import Inspection, Wish
from hlf_sync.reconcile.parts import column_reader, patience
from hlf_sync.reconcile.report import Report

_log = structlog.get_logger()

_POOL_SIZE = 2
_DUPLICATES_DAYS = 30
_SETTLE_S = 3.0
# How long `verify` waits while the circuit is open or a halt holds, before it is tried again later.
_GATE_PATIENCE_S = 600.0


async def compare(place: Workplace, _progress: Progress) -> Counts:
    """The books alone."""
    return _counts(await _inspect(place, is_verifying=False))


async def verify(place: Workplace, _progress: Progress) -> Counts | Skip:
    """The books, and what Dynamics shows; at the pace that the workers leave."""
    settings = place.settings
    if settings.delivery == "shadow" or settings.dynamics_base_url is None:
        return Skip("nothing is called: shadow, or no Dynamics in the settings")
    settings.require_credentials()
    report = await _inspect(place, is_verifying=True)
    unread = len(report.unread) + report.skipped
    return {**_counts(report), "verified": report.verified, "unread": unread}


async def _inspect(place: Workplace, *, is_verifying: bool) -> Report:
    settings = place.settings
    wish = Wish((), True, _DUPLICATES_DAYS, _SETTLE_S, patience(settings))
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(place.dsn, size=_POOL_SIZE))
        column = None
        if is_verifying:
            column = column_reader(settings, pool, _GATE_PATIENCE_S, place.secret_file, _say)
            stack.push_async_callback(column.client.aclose)
        return await Inspection(settings, pool, wish, column, lambda _count: None).run()


def _counts(report: Report) -> Counts:
    counts = report.content()["counts"]
    names = ("differences", "repaired", "left", "duplicates", "unexplained", "repeated_reminders")
    return {"checked": report.checked, **{name: counts[name] for name in names}}


def _say(line: str) -> None:
    _log.info("nightly_verify", reason=line)
