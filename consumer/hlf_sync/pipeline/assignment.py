"""The partitions this worker owns now, and what of them may be committed. Called from the event
loop only.
"""

from collections import Counter
from collections.abc import Iterable

from hlf_sync.core.model import Change, Position
from hlf_sync.core.offsets import Offsets


class Assignment:
    """Offsets per partition; each assignment has a number (epoch), so that what ends after a
    revocation changes nothing.
    """

    def __init__(self) -> None:
        self._offsets: dict[int, Offsets] = {}
        self._epoch = 0
        self._held = Counter[int]()
        self.partition_count = 0  # of the whole topic; 0 while unknown

    def __contains__(self, partition: object) -> bool:
        return partition in self._offsets

    @property
    def partitions(self) -> list[int]:
        """The partitions owned, ascending."""
        return sorted(self._offsets)

    @property
    def share(self) -> float:
        """Which part of the topic is ours, in [0, 1]: our part of the fleet's pace."""
        return len(self._offsets) / self.partition_count if self.partition_count else 1.0

    def assign(self, partitions: Iterable[int]) -> None:
        """The partitions are ours from now on."""
        self._epoch += 1
        for partition in partitions:
            self._offsets[partition] = Offsets(self._epoch)

    def revoke(self, partitions: Iterable[int]) -> None:
        """The partitions are no longer ours."""
        for partition in partitions:
            self._offsets.pop(partition, None)

    def position(self, partition: int, offset: int) -> Position | None:
        """The position of a record received now; None when its partition is not ours any more."""
        offsets = self._offsets.get(partition)
        return Position(partition, offset, offsets.epoch) if offsets else None

    def holds(self, position: Position) -> bool:
        """Whether the position was received in the current assignment of its partition."""
        offsets = self._offsets.get(position.partition)
        return offsets is not None and offsets.epoch == position.epoch

    def receive(self, position: Position) -> bool:
        """A record that waits for an outcome; False when it was received before."""
        return self._offsets[position.partition].receive(position.offset)

    def see(self, position: Position) -> bool:
        """A record that is finished on arrival; False when it was received before."""
        return self._offsets[position.partition].see(position.offset)

    def finish(self, positions: Iterable[Position]) -> None:
        """These positions have a durable outcome. Those of an older assignment are no longer ours
        to finish.
        """
        for position in positions:
            if self.holds(position):
                self._offsets[position.partition].finish(position.offset)

    def finish_changes(self, changes: Iterable[Change]) -> None:
        """The changes' positions have a durable outcome."""
        self.finish(change.position for change in changes)

    @property
    def received(self) -> dict[int, int]:
        """One past the highest offset seen, per partition that received anything."""
        return {
            partition: offsets.next_offset
            for partition, offsets in self._offsets.items()
            if offsets.next_offset is not None
        }

    def hold(self, partitions: Iterable[int]) -> None:
        """Commit nothing of these partitions until as many `release`s: something that must come
        first is not durable yet.
        """
        self._held.update(partitions)

    def release(self, partitions: Iterable[int]) -> None:
        """It is durable now."""
        self._held.subtract(partitions)

    def committable(self, partitions: Iterable[int] | None = None) -> dict[int, int]:
        """The next offset to read, per partition that received anything."""
        chosen = (
            self._offsets if partitions is None else [p for p in partitions if p in self._offsets]
        )
        offsets = ((partition, self._offsets[partition].committable) for partition in chosen)
        return {
            partition: offset
            for partition, offset in offsets
            if offset is not None and not self._held[partition]
        }
