"""Which offset of a partition may be committed: never past a position without a durable outcome.

One `Offsets` per assignment of a partition. It tracks only positions that were really received, so
gaps from compaction or transaction markers never stall it. A committed offset means the *next* one
to read. Called by the pipeline; knows nothing of Kafka's client: `kafka/consumer_session` commits.
"""

from collections import deque


class Offsets:
    """The unfinished positions of one partition during one assignment."""

    __slots__ = ("_finished", "_open", "epoch", "next_offset")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.next_offset: int | None = None  # one past the highest position seen
        self._open: deque[int] = deque()  # received and not known to be finished, ascending
        self._finished: set[int] = set()  # finished out of order, still behind an open one

    def receive(self, offset: int) -> bool:
        """Note a position that waits for an outcome; False when it was seen before (a re-fetch),
        which must not count twice.
        """
        if not self.see(offset):
            return False
        self._open.append(offset)
        return True

    def see(self, offset: int) -> bool:
        """Note a position that is finished on arrival; False when it was seen before."""
        if self.next_offset is not None and offset < self.next_offset:
            return False
        self.next_offset = offset + 1
        return True

    def finish(self, offset: int) -> None:
        """The position has a durable outcome. One that was finished before, or never received,
        changes nothing.
        """
        if (
            self._open
            and self.next_offset is not None
            and self._open[0] <= offset < self.next_offset
        ):
            self._finished.add(offset)
        while self._open and self._open[0] in self._finished:
            self._finished.remove(self._open.popleft())
        if not self._open:
            self._finished.clear()  # what was said of positions that had been finished on arrival

    @property
    def committable(self) -> int | None:
        """The next offset to read after a crash now; None when nothing was received."""
        return self._open[0] if self._open else self.next_offset

    @property
    def open_count(self) -> int:
        """Positions received and not finished, finished ones behind an open one included."""
        return len(self._open)
