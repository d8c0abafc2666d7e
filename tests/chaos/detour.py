"""Debezium's way to PostgreSQL through a proxy, for as long as a run lasts; and waking Debezium up.
Called by run.py and rest.py.

The connector gets another port by Connect's REST interface, and its own back afterwards.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg

from tests.fixtures.source_side import CONNECTOR, SourceSide

_DEADLINE_S = 45.0
_WAKE_AFTER_S, _WAKE_EVERY_S = 1.0, 6.0


@contextmanager
def detoured(side: SourceSide, port: int) -> Iterator[None]:
    """With the connector's database on `port` of this machine."""
    config = _ask(side, "GET", "config")
    _configure(side, config | {"database.port": str(port)})
    try:
        yield
    finally:
        _configure(side, config)


def _configure(side: SourceSide, config: dict[str, Any]) -> None:
    _ask(side, "PUT", "config", config)
    await_streaming(side)


def await_streaming(side: SourceSide) -> bool:
    """Wait until Debezium reads the log, waking a task that sleeps over its last failure (10 s
    each); whether it does in the end.
    """
    began_s = time.monotonic()
    woken_s = began_s + _WAKE_AFTER_S - _WAKE_EVERY_S
    while not _is_streaming(side):
        now_s = time.monotonic()
        if now_s - began_s > _DEADLINE_S:
            return False
        if now_s - woken_s > _WAKE_EVERY_S:
            woken_s = now_s
            _ask(side, "POST", "restart?includeTasks=true")
        time.sleep(0.1)
    return True


def _is_streaming(side: SourceSide) -> bool:
    try:
        with side.admin() as connection:
            return connection.execute(
                "SELECT active FROM pg_replication_slots WHERE slot_name = 'hlf_mentor_cdc'"
            ).fetchone() == (True,)
    except psycopg.OperationalError:  # starting
        return False


def _ask(
    side: SourceSide, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What Connect answers, as soon as it does: it may be starting, or rebalancing (409)."""
    end_s = time.monotonic() + _DEADLINE_S
    while True:
        try:
            answer = side.connect.request(
                method, f"/connectors/{CONNECTOR}/{path}", json=body
            ).raise_for_status()
        except httpx.HTTPError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.3)
        else:
            content: dict[str, Any] = answer.json() if answer.content else {}
            return content
