"""Makes the connector forget its position, after which it takes its snapshot anew and goes on from
the slot. For a database that went back, where the old position lies ahead of the log, and Debezium
would pass over everything until the log has grown past it (`offset.mismatch.strategy=trust_offset`).

Called by the leader's watch and `hlf-sync connector reset`. Each step may be repeated; a snapshot is
harmless, since a record only says whom to look at. Raises `DependencyError` and `SettingsError`.
"""

import time
from collections.abc import Callable

from hlf_sync.connect.rest import ConnectRest
from hlf_sync.core.numbers import whole
from hlf_sync.errors import DependencyError

_STOPPED_S = 30.0
_POLL_S = 0.25
_LAST_LSN = (1 << 64) - 1


def position(rest: ConnectRest, name: str) -> int | None:
    """Where in PostgreSQL's log the connector stands, in bytes; None where it has noted nothing."""
    offsets = (
        whole(entry["offset"].get(field), most=_LAST_LSN)
        for entry in rest.offsets(name)
        for field in ("lsn_proc", "lsn")
        if isinstance(entry.get("offset"), dict)
    )
    return max((found for found in offsets if found is not None), default=None)


def written(position: int) -> str:
    """A position as PostgreSQL writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def reset(rest: ConnectRest, name: str, say: Callable[[str], object] = lambda _line: None) -> None:
    """Stop the connector, delete its offsets, let it go on."""
    say(f"stopping {name}")
    rest.stop(name)
    _await_stopped(rest, name)
    say("deleting its offsets")
    rest.delete_offsets(name)
    say("letting it go on: it takes a snapshot, which is harmless, and goes on from the slot")
    rest.resume(name)


def _await_stopped(rest: ConnectRest, name: str) -> None:
    give_up_at = time.monotonic() + _STOPPED_S
    while True:
        status = rest.status(name)
        if status is None:
            return
        if status["connector"]["state"] == "STOPPED" and not status["tasks"]:
            return
        if time.monotonic() > give_up_at:
            raise DependencyError("Kafka Connect", f"{name} does not stop")
        time.sleep(_POLL_S)
