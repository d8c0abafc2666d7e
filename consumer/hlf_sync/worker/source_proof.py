"""Restarts a connector's task that is dead although Kafka Connect says that it runs. A service of
the worker; the rule is core/source_proof's.

After an outage of Kafka, or of its own rights there, a task may have failed without being able to
say so. A failed task that says so is connector_restart's.
"""

import asyncio
from collections.abc import Callable

import structlog

from hlf_sync.clients import ConnectLogin
from hlf_sync.connect.rest import ConnectRest
from hlf_sync.connect.standing import ConnectorStanding, judge
from hlf_sync.core.source_proof import SourceProof
from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.postgres.connections import Pool, reaching
from hlf_sync.postgres.statements import leader as sql
from hlf_sync.worker.connector_restart import CONNECTOR

_log = structlog.get_logger()

_EVERY_S = 10.0


async def prove_source(
    pool: Pool,
    url: str,
    login: ConnectLogin,
    slot: str,
    leads: Callable[[], bool],
    *,
    proof: SourceProof | None = None,
    every_s: float = _EVERY_S,
) -> None:
    """Look while this worker leads; for ever."""
    proof = proof or SourceProof()
    while True:
        await asyncio.sleep(every_s)
        if not leads():
            proof.forget()
            continue
        try:
            await _look(pool, url, login, slot, proof)
        except (DependencyError, SettingsError) as error:
            detail = error.detail if isinstance(error, DependencyError) else "refused"
            _log.debug("source_unproven", error_code=detail)


async def _look(pool: Pool, url: str, login: ConnectLogin, slot: str, proof: SourceProof) -> None:
    with reaching("PostgreSQL"):
        async with pool.connection() as connection:
            row = await (await connection.execute(sql.SLOT_POSITIONS, (slot,))).fetchone()
    if row is None:  # no slot: that is the fleet watch's to say
        proof.forget()
        return
    confirmed, end, is_read = row
    now_s = asyncio.get_running_loop().time()
    if proof.is_dead(now_s, confirmed=confirmed, end=end, is_read=is_read):
        await asyncio.to_thread(_restart, url, login, proof)


def _restart(url: str, login: ConnectLogin, proof: SourceProof) -> None:
    with ConnectRest(url, **login) as connect:
        if judge(connect.status(CONNECTOR)) is not ConnectorStanding.RUNNING:
            proof.forget()  # paused, stopped, or failed and said so
            return
        connect.restart_all(CONNECTOR)
    _log.error("connector_silent", restarts=proof.restarts)
