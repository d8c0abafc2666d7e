"""Restarts a failed connector task: Kafka Connect never does, so an outage of the registry would
need a person. Finishes a reset that was killed in the middle, which leaves the connector stopped. A
service of the worker.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from hlf_sync.clients import ConnectLogin
from hlf_sync.connect.connector import revive
from hlf_sync.connect.standing import ConnectorStanding
from hlf_sync.errors import DependencyError, SettingsError

_log = structlog.get_logger()

# As connectors/hlf-mentor-cdc.json names it.
CONNECTOR = "hlf-mentor-cdc"
_EVERY_S = 15.0


async def revive_connector(
    url: str,
    login: ConnectLogin,
    leads: Callable[[], bool],
    finish: Callable[[], Awaitable[bool]],
    *,
    every_s: float = _EVERY_S,
) -> None:
    """Look at the connector while this worker leads, finish a reset that was begun and has not
    ended, and restart what failed by a cause that passes by itself; for ever.
    """
    while True:
        await asyncio.sleep(every_s)
        if not leads():
            continue
        await _finish(finish)
        try:
            standing = await asyncio.to_thread(partial(revive, url, CONNECTOR, **login))
        except (DependencyError, SettingsError) as error:
            # whatever Connect answers, it is no reason to end a worker that delivers
            _log.warning("connector_unknown", error_code=_code(error))
        else:
            if standing is ConnectorStanding.FAILED:
                _log.error("connector_failed")


async def _finish(finish: Callable[[], Awaitable[bool]]) -> None:
    """What stands in its way is no reason not to look at the connector."""
    try:
        if await finish():
            _log.warning("connector_reset_finished")
    except (DependencyError, SettingsError) as error:
        _log.warning("connector_reset_not_finished", error_code=_code(error))


def _code(error: DependencyError | SettingsError) -> str:
    return error.detail if isinstance(error, DependencyError) else "refused"
