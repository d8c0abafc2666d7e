"""What the pipeline counts, as a protocol; telemetry/metrics implements it for Prometheus."""

from typing import Protocol

from hlf_sync.core.model import LetterKind, Operation


class Meter(Protocol):
    """Counters and histograms of the worker."""

    def changes(self, outcome: str, count: int) -> None:
        """Changes that ended: applied, no_call, out_of_scope, collapsed, ignored, dead_lettered."""
        return

    def evaluated(self, count: int) -> None:
        """Mentors whose facts were read and decided on."""
        return

    def called(self, operation: Operation, outcome: str, seconds: float) -> None:
        """A call was answered; outcome ok or an error code."""
        return

    def reflected(self, committed_ms: int) -> None:
        """A delivery succeeded; `committed_ms` is the commit of its oldest change."""
        return

    def lettered(self, kind: LetterKind) -> None:
        """A dead letter was acknowledged."""
        return

    def taken_in(self, committed_ms: int, kafka_ms: int) -> None:
        """A change made its mentor dirty; when it was committed, and when it was in Kafka."""
        return

    def staged(self, stage: str, seconds: float) -> None:
        """A stage of a mentor's way is over: decided, called, recorded; since the one before."""
        return

    def lost_lease(self) -> None:
        """An outcome was not recorded, because the lease had gone to another worker."""
        return

    def rebalanced(self, kind: str) -> None:
        """The assignment changed: assigned, revoked, lost."""
        return

    def paused(self) -> None:
        """Fetching was paused, because the backlog is full."""
        return

    def swept(self, reason: str) -> None:
        """Everybody is looked at: truncated, positions_lost."""
        return

    def unseen_for_ever(self) -> None:
        """A transaction that no snapshot will ever show was given up on."""
        return


class NoMeter(Meter):
    """Counts nothing: for a process whose numbers nobody reads. Each method is the protocol's empty
    one.
    """
