"""Whether the connector's task is dead although Kafka Connect says that it runs: a task that could
not write its own failure (Kafka took no record of it either) stays RUNNING there for ever.

The log tells the truth: a position that we wrote, and that the replication slot does not pass. Pure;
called by the leader's service, which writes, reads and restarts.
"""

from dataclasses import dataclass

# Debezium confirms with its heartbeat, every 10 s; a task that restarts, or takes a short snapshot,
# has its time.
_UNREAD_S = 90.0
# One that reads the slot may be busy with one large transaction.
_BUSY_S = 600.0
_LONGEST_S = 3600.0


@dataclass(slots=True)
class SourceProof:
    """Positions are bytes of PostgreSQL's log, times monotonic seconds. `written` is what we wait
    for the slot to pass.
    """

    unread_s: float = _UNREAD_S
    busy_s: float = _BUSY_S
    written: int | None = None
    written_at_s: float = 0.0
    restarts: int = 0

    def forget(self) -> None:
        """Another one leads, or the connector is not meant to run: begin anew."""
        self.written, self.restarts = None, 0

    def is_dead(self, now_s: float, *, confirmed: int, end: int, is_read: bool) -> bool:
        """Look at the slot: `confirmed` is how far it was read, `end` what we have just written.
        True when the task is to be restarted now; then it gets twice the time before the next one.
        """
        if self.written is None or confirmed >= self.written:
            if self.written is not None:
                self.restarts = 0
            self.written, self.written_at_s = end, now_s
            return False
        patience_s = self.busy_s if is_read else self.unread_s
        wait_s = min(_LONGEST_S, patience_s * float(1 << min(self.restarts, 10)))
        if now_s - self.written_at_s < wait_s:
            return False
        self.restarts += 1
        self.written_at_s = now_s
        return True
