"""Restarts a failed connector task: Kafka Connect never does, so an outage of the registry would
need a person. A service of the worker.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from hlf_sync.clients import ConnectLogin
from hlf_sync.connect.connector import ConnectorStanding, revive
from hlf_sync.errors import DependencyError, SettingsError

_log = structlog.get_logger()

# As connectors/hlf-mentor-cdc.json names it.
CONNECTOR = "hlf-mentor-cdc"
_EVERY_S = 15.0


async def revive_connector(url: str, login: ConnectLogin, leads: Callable[[], bool]) -> None:
    """Look at the connector while this worker leads, and restart what failed by a cause that passes
    by itself; for ever.
    """
    while True:
        await asyncio.sleep(_EVERY_S)
        if not leads():
            continue
        try:
            standing = await asyncio.to_thread(partial(revive, url, CONNECTOR, **login))
        except (
            DependencyError,
            SettingsError,
        ) as error:  # whatever Connect answers, it is no reason to end a worker that delivers
            _log.warning(
                "connector_unknown",
                error_code=error.detail if isinstance(error, DependencyError) else "refused",
            )
        else:
            if standing is ConnectorStanding.FAILED:
                _log.error("connector_failed")
