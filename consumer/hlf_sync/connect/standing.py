"""How a connector stands, and whether one that says it runs has proved it. Pure: what Connect answered
comes in. Asked by `connector apply`, the steps of `hlf-sync connector`, the leader and `doctor`.

Connect says RUNNING of a task that is about to fail: what the task's producer could not send is told
at its next turn, some six seconds later [measured]. So a proof is asked for: that it has run for
longer than that, and that the position which Connect notes, once Kafka has the records, has moved.
The heartbeat moves it also while nobody changes anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

_SETTLE_S = 2.0
# Longer than a task takes that fails on a record.
_RUN_S = 10.0

UNPROVEN = (
    "It says RUNNING, and its position has not moved: it may fail yet, or cannot reach PostgreSQL"
    " or Kafka. Look again with `hlf-sync connector status`, and into the Connect worker's log."
)


class ConnectorStanding(StrEnum):
    """What a connector's and its tasks' states come to."""

    RUNNING = "RUNNING"
    STARTING = "STARTING"
    PAUSED = "PAUSED"
    FAILED = "FAILED"


def judge(status: Mapping[str, Any] | None) -> ConnectorStanding:
    """What the states come to. Without a task nothing runs yet."""
    if status is None:
        return ConnectorStanding.STARTING
    states = [status["connector"]["state"], *(task["state"] for task in status["tasks"])]
    if "FAILED" in states:
        return ConnectorStanding.FAILED
    if states[0] in {"PAUSED", "STOPPED"}:
        return ConnectorStanding.PAUSED
    return (
        ConnectorStanding.RUNNING
        if status["tasks"] and set(states) == {"RUNNING"}
        else ConnectorStanding.STARTING
    )


def trace_of(status: Mapping[str, Any] | None) -> str:
    """The traces of whatever failed."""
    parts = () if status is None else (status["connector"], *status["tasks"])
    return "\n".join(part["trace"] for part in parts if part.get("trace"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPatience:
    """What is asked of a standing before it is believed. `settle_s`: Connect reports the state from
    before a new configuration for a moment.
    """

    settle_s: float
    run_s: float
    must_move: bool

    @classmethod
    def of(cls, config: Mapping[str, str]) -> Self:
        """Of a connector without a heartbeat nobody can ask that its position moves."""
        return cls(settle_s=_SETTLE_S, run_s=_RUN_S, must_move="heartbeat.action.query" in config)


AT_ONCE = RunPatience(settle_s=0, run_s=0, must_move=False)


@dataclass(slots=True)
class RunProof:
    """Looks at standing after standing, until one is for good."""

    patience: RunPatience
    _standing: ConnectorStanding | None = field(default=None, init=False)
    _since_s: float = field(default=0.0, init=False)
    _from: int | None = field(default=None, init=False)

    def is_final(self, standing: ConnectorStanding, position: int | None, now_s: float) -> bool:
        """Whether it stands so for good. `position` is where in the log it stands, in bytes; None
        where it has noted nothing. `now_s` is monotonic.
        """
        if standing is not self._standing:
            self._standing, self._since_s, self._from = standing, now_s, position
        if standing is ConnectorStanding.STARTING:
            return False
        if standing is not ConnectorStanding.RUNNING:
            return now_s - self._since_s >= self.patience.settle_s
        has_moved = position is not None and position != self._from
        return now_s - self._since_s >= self.patience.run_s and (
            has_moved or not self.patience.must_move
        )
