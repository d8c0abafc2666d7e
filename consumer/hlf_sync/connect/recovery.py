"""Makes the connector forget its position, after which it takes its snapshot anew and goes on from
the slot. For a database that went back, where the old position lies ahead of the log, and Debezium
would pass over everything until the log has grown past it (`offset.mismatch.strategy=trust_offset`).

Called by the leader's watch and `hlf-sync connector reset`. Each step may be repeated; a snapshot is
harmless, since a record only says whom to look at. A reset is noted in PostgreSQL from its first
step to its last, so that one that was killed is finished by whoever looks next. Raises
`DependencyError` and `SettingsError`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from hlf_sync.connect.rest import ConnectRest
from hlf_sync.core.numbers import whole
from hlf_sync.errors import DependencyError
from hlf_sync.postgres import connector_reset
from hlf_sync.postgres.one_connection import OperatorConnection

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What `connector recover` sees before it asks. `slot` is its `wal_status`, None where there is
    none; positions are bytes of the log, None where they cannot be known.
    """

    slot: str | None
    position: int | None
    log_end: int | None

    @property
    def needs_administrator(self) -> bool:
        """Whether the slot must be made first, which our role cannot."""
        return self.slot in {None, "lost"}

    @property
    def is_ahead(self) -> bool:
        """Whether the connector stands where the log has not been yet: it would pass over changes."""
        return (
            self.position is not None and self.log_end is not None and self.position > self.log_end
        )

    def sentences(self, slot_name: str) -> list[str]:
        """What was found, a line each."""
        slot = "is missing" if self.slot is None else f"is there ({self.slot})"
        stands = (
            "has noted no position"
            if self.position is None
            else f"stands at {written(self.position)}"
        )
        if self.position is not None and self.log_end is not None:
            where = "BEYOND" if self.is_ahead else "within"
            stands += f", {where} the log, which ends at {written(self.log_end)}"
        return [f"the slot {slot_name} {slot}", f"the connector {stands}"]


def reset_noted(
    connection: OperatorConnection,
    rest: ConnectRest,
    name: str,
    *,
    by: str,
    say: Callable[[str], object] = lambda _line: None,
    only_owed: bool = False,
    sweep: str | None = None,
    look_at_all: Callable[[OperatorConnection, str], object] = connector_reset.owe_sweep,
) -> bool:
    """`reset`, alone and noted; `only_owed`: only where one was begun and has not ended. Whether it
    was done. `connection` is in autocommit. `sweep`: why everybody must be looked at afterwards,
    which `look_at_all` sees to, whoever ends the reset.
    """
    begun: list[str] = []

    def begin(step: str) -> None:
        if not connector_reset.is_ours(connection):
            if begun:  # our stop may have come after another one's last step
                rest.resume(name)
            raise DependencyError("PostgreSQL", "the session of the reset has ended")
        begun.append(step)
        say(step)

    with connector_reset.alone(connection):
        if only_owed and connector_reset.owed(connection, name) is None:
            return False
        connector_reset.note(connection, name, by, sweep)
        reset(rest, name, begin)
        with connection.transaction():
            why = connector_reset.strike(connection, name) or sweep
            if why is not None:
                look_at_all(connection, why)
    return True


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
