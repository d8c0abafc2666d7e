"""What the watch asks of the parts that it looks at, as protocols: Kafka's readers and the consumer
thread fit them. Nothing is done here.
"""

from collections.abc import Mapping
from typing import Protocol

from hlf_sync.core.lag import Extent
from hlf_sync.kafka.consumer_thread import Trouble


class ExtentSource(Protocol):
    """How far each partition goes and how far it is committed."""

    async def extents(self, partitions: list[int]) -> Mapping[int, Extent]:
        """Of these partitions."""
        ...


class LagSource(Protocol):
    """One topic's newest record and lag."""

    async def newest_ms(self) -> int | None:
        """When its newest record was written, epoch milliseconds."""
        ...

    async def partitions(self) -> int:
        """How many there are."""
        ...

    async def lag(self, partitions: list[int]) -> Mapping[int, int]:
        """How many records each has that nobody has committed."""
        ...


class ConsumerSigns(Protocol):
    """What the thread that owns Kafka's consumer shows of itself."""

    @property
    def last_turn_s(self) -> float:
        """When it polled last, in the loop's time."""
        ...

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        ...

    @property
    def paused_count(self) -> int:
        """How many partitions are paused."""
        ...

    @property
    def trouble(self) -> Trouble | None:
        """Why there is no consumer now."""
        ...

    @property
    def restarts(self) -> int:
        """How often the consumer was made anew."""
        ...
