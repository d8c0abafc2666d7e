"""What the pipeline counts, as a protocol; telemetry/metrics implements it for Prometheus."""

from typing import Protocol

from hlf_sync.core.model import LetterKind, Operation


class Meter(Protocol):
    """Counters and histograms of the worker."""

    def changes(self, outcome: str, count: int) -> None:
        """Changes that ended: applied, no_call, out_of_scope, collapsed, ignored, dead_lettered."""
        ...

    def evaluated(self, count: int) -> None:
        """Mentors whose facts were read and decided on."""
        ...

    def called(self, operation: Operation, outcome: str, seconds: float) -> None:
        """A call was answered; outcome ok or an error code."""
        ...

    def reflected(self, committed_ms: int) -> None:
        """A delivery succeeded; `committed_ms` is the commit of its oldest change."""
        ...

    def lettered(self, kind: LetterKind) -> None:
        """A dead letter was acknowledged."""
        ...

    def taken_in(self, committed_ms: int, kafka_ms: int) -> None:
        """A change made its mentor dirty; when it was committed, and when it was in Kafka."""
        ...

    def staged(self, stage: str, seconds: float) -> None:
        """A stage of a mentor's way is over: decided, called, recorded; since the one before."""
        ...

    def lost_lease(self) -> None:
        """An outcome was not recorded, because the lease had gone to another worker."""
        ...

    def rebalanced(self, kind: str) -> None:
        """The assignment changed: assigned, revoked, lost."""
        ...

    def paused(self) -> None:
        """Fetching was paused, because the backlog is full."""
        ...

    def swept(self, reason: str) -> None:
        """Everybody is looked at: truncated, positions_lost."""
        ...

    def unseen_for_ever(self) -> None:
        """A transaction that no snapshot will ever show was given up on."""
        ...


class NoMeter:
    """Counts nothing: `Meter` of a process whose numbers nobody reads."""

    def changes(self, outcome: str, count: int) -> None:
        """Nothing."""

    def evaluated(self, count: int) -> None:
        """Nothing."""

    def called(self, operation: Operation, outcome: str, seconds: float) -> None:
        """Nothing."""

    def reflected(self, committed_ms: int) -> None:
        """Nothing."""

    def lettered(self, kind: LetterKind) -> None:
        """Nothing."""

    def taken_in(self, committed_ms: int, kafka_ms: int) -> None:
        """Nothing."""

    def staged(self, stage: str, seconds: float) -> None:
        """Nothing."""

    def lost_lease(self) -> None:
        """Nothing."""

    def rebalanced(self, kind: str) -> None:
        """Nothing."""

    def paused(self) -> None:
        """Nothing."""

    def swept(self, reason: str) -> None:
        """Nothing."""

    def unseen_for_ever(self) -> None:
        """Nothing."""
