"""The event loop's side of the consumer thread, as a protocol; pipeline/worker implements it."""

from collections.abc import Mapping
from typing import Protocol

from hlf_sync.core.model import Record


class Listener(Protocol):
    """The event loop's side. Everything is called on the loop."""

    def records(self, records: list[Record]) -> None:
        """Take a batch."""
        ...

    def assigned(self, partitions: list[int]) -> None:
        """These partitions are ours from now on."""
        ...

    async def revoked(self, partitions: list[int]) -> Mapping[int, int]:
        """Bring what is under way to an end, within bounds; answer what may be committed. After
        that the partitions are no longer ours.
        """
        ...

    def lost(self, partitions: list[int]) -> None:
        """The partitions went to somebody else already: nothing of them may be committed."""
        ...

    def positions_lost(self, partitions: list[int]) -> None:
        """A committed offset no longer exists; reading goes on from the earliest, what was between
        is gone.
        """
        ...

    def never_committed(self, partitions: list[int]) -> None:
        """The group has no committed offset of these; reading starts at the earliest."""
        ...

    def kafka_failed(self, reason: str) -> None:
        """No broker answers."""
        ...

    def kafka_answered(self) -> None:
        """A broker answers."""
        ...
