"""Lag over time: is a partition worked off, is it stuck, and how old is what nobody has read yet?
(Burrow's idea: judge a window, not a number.)

Pure: the monitor notes each measurement, the status page asks. Times are monotonic seconds. Knows
offsets only, and nothing of Kafka's client.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

_WINDOW_S = 60.0
# Measurements of log ends kept per partition. When there are more, every second one goes and they
# are kept half as often from then on: ages become too young by that spacing, a few hundredths of
# the outage's length.
_MOST_ENDS = 256


@dataclass(frozen=True, slots=True)
class Extent:
    """One partition as measured: `committed` is the next offset to read after a crash (the log's
    start when there is none).
    """

    committed: int
    end: int

    @property
    def lag(self) -> int:
        """Records that are not handled; never below 0 (the two offsets are read one after the
        other).
        """
        return max(0, self.end - self.committed)


@dataclass(slots=True)
class _History:
    """One partition's measurements: log ends with when they were first seen, and how long nothing
    was committed though records waited.
    """

    extent: Extent
    noted_at_s: float = 0.0
    ends: deque[tuple[float, int]] = field(default_factory=deque)
    spacing_s: float = 0.0
    still_since_s: float | None = None


class LagHistory:
    """The partitions that one worker owns; those that went away are forgotten, so that none is told
    by two workers.
    """

    def __init__(self) -> None:
        self._partitions: dict[int, _History] = {}

    def note(self, extents: Mapping[int, Extent], now_s: float) -> None:
        """A measurement of all partitions owned at that moment."""
        for partition in self._partitions.keys() - extents.keys():
            del self._partitions[partition]
        for partition, extent in extents.items():
            known = self._partitions.get(partition)
            if known is None:
                known = self._partitions[partition] = _History(extent)
            _extend(known, extent, now_s)

    def lag(self, owned: list[int]) -> dict[int, int]:
        """Lag per partition, of those owned now and measured."""
        return {
            partition: self._partitions[partition].extent.lag
            for partition in owned
            if partition in self._partitions
        }

    def unhandled_s(self, positions: Mapping[int, int], owned: list[int], now_s: float) -> float:
        """For how long, at least, the oldest record without an outcome has been in Kafka, read or
        not; 0 when there is none.

        `positions` is what may be committed at this moment; of a partition of which nothing was
        received yet, the committed offset counts.
        """
        return max(
            (self._unhandled_s(partition, positions, now_s) for partition in owned), default=0.0
        )

    def is_stuck(self, owned: list[int]) -> bool:
        """Whether a partition has had records in every measurement of the window, and nothing was
        committed.
        """
        found = (
            self._partitions[partition] for partition in owned if partition in self._partitions
        )
        return any(
            known.still_since_s is not None and known.noted_at_s - known.still_since_s >= _WINDOW_S
            for known in found
        )

    def is_measured(self, owned: list[int]) -> bool:
        """Whether every partition owned has been measured."""
        return all(partition in self._partitions for partition in owned)

    def _unhandled_s(self, partition: int, positions: Mapping[int, int], now_s: float) -> float:
        known = self._partitions.get(partition)
        if known is None:
            return 0.0
        position = max(positions.get(partition, 0), known.extent.committed)
        while known.ends and known.ends[0][1] <= position:
            known.ends.popleft()
        known.spacing_s = known.spacing_s if known.ends else 0.0
        return now_s - known.ends[0][0] if known.ends else 0.0


def _extend(known: _History, extent: Extent, now_s: float) -> None:
    is_still = extent.lag > 0 and extent.committed == known.extent.committed
    known.still_since_s = (
        None if not is_still else now_s if known.still_since_s is None else known.still_since_s
    )
    if extent.end < known.extent.end:  # a recreated topic
        known.ends.clear()
    known.extent, known.noted_at_s = extent, now_s
    if extent.lag > 0 and (not known.ends or known.ends[-1][1] < extent.end):
        _remember(known, extent.end, now_s)


def _remember(known: _History, end: int, now_s: float) -> None:
    ends = known.ends
    if len(ends) > 1 and now_s - ends[-2][0] < known.spacing_s:
        ends[-1] = (now_s, end)
        return
    ends.append((now_s, end))
    if len(ends) > _MOST_ENDS:
        known.ends = deque(pair for index, pair in enumerate(ends) if index % 2 == 0)
        known.spacing_s = 2 * (now_s - ends[0][0]) / _MOST_ENDS
