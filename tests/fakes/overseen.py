"""A worker of `TestBench` with everything that oversees it: monitor, watch, status, page. Kafka's
offsets and thread are plain values.
"""

import asyncio
from dataclasses import dataclass, field
from time import time_ns
from typing import Any

from hlf_sync.core.decide import Rules
from hlf_sync.core.lag import Extent
from hlf_sync.kafka.consumer_thread import Trouble
from hlf_sync.postgres.connections import open_pool
from hlf_sync.telemetry.metrics import Metrics
from hlf_sync.watch.fleet_watch import FleetWatch
from hlf_sync.watch.monitor import Monitor
from hlf_sync.watch.scrape import Scrape
from hlf_sync.watch.standby import Standby
from hlf_sync.watch.status import Status

from tests.fakes.worker import TestBench

TOPIC = "hlf.mentor.changes"


@dataclass
class PlainLag:
    """The broker's word; `error` is raised instead."""

    found: dict[int, Extent] = field(default_factory=dict)
    error: Exception | None = None

    async def extents(self, partitions: list[int]) -> dict[int, Extent]:
        if self.error is not None:
            raise self.error
        return {partition: self.found.get(partition, Extent(0, 0)) for partition in partitions}


@dataclass
class PlainThread:
    """The consumer thread."""

    last_turn_s: float = 0.0
    is_alive: bool = True
    paused_count: int = 0
    trouble: Trouble | None = None
    restarts: int = 0


@dataclass
class PlainGroup:
    """How many partitions its members own."""

    count: int = 12

    async def owned(self) -> int:
        return self.count


@dataclass
class PlainScheduler:
    """Who leads, and what the leader counted."""

    is_leader: bool = True
    open_letters: int = 0
    oldest_letter_s: float = 0.0
    notification_queue: float = 0.0


@dataclass
class PlainToken:
    """A token that ends in so many seconds."""

    expires_in_s: float = 3000.0


@dataclass
class PlainTopic:
    """A topic whose newest record and lag are known."""

    newest: int | None = 1_700_000_000_000
    lags: int = 7

    async def newest_ms(self) -> int | None:
        return self.newest

    async def partitions(self) -> int:
        return 1

    async def lag(self, partitions: list[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, self.lags)


async def _no_registry() -> None:
    pass


class Overseen:
    """`bench` and who looks at it. Inside a running loop."""

    def __init__(self, bench: TestBench, watch: Any = None) -> None:
        self.bench = bench
        self.stages = bench.worker.stages
        self.lag, self.thread, self.scheduler = (
            PlainLag(),
            PlainThread(asyncio.get_running_loop().time()),
            PlainScheduler(),
        )
        self.metrics = Metrics(lambda: time_ns() // 1_000_000)
        self.monitor = Monitor(
            self.lag,
            self.stages.assignment,
            self.stages.dependencies,
            lambda: self.scheduler.is_leader,
        )
        self.group = PlainGroup()
        self.standby = Standby(self.group, self.stages.assignment, lambda: None)
        pool = open_pool("host=127.0.0.1 port=1", size=1)  # nobody asks it
        self.watch = watch or FleetWatch(
            pool=pool,
            rules=Rules(),
            heartbeats=PlainTopic(),
            replayed=PlainTopic(),
            connector_status=None,
            registry=_no_registry,
            leads=lambda: False,
            now_ms=lambda: 0,
        )
        self.status = Status(
            stages=self.stages,
            scheduler=self.scheduler,
            source=self.thread,
            monitor=self.monitor,
            standby=self.standby,
            watch=self.watch,
            topic=TOPIC,
            letters_topic="hlf.mentor.dead-letters",
            delivery="live",
            token=PlainToken(),
            credential_days_left=lambda: 90.0,
            now_ms=lambda: time_ns() // 1_000_000,
        )
        self.scrape = Scrape(self.status, self.metrics, None)

    def page(self) -> dict[str, float]:
        """The page's samples by name and labels, as the page spells them."""
        lines = [
            line for line in self.scrape.page().decode().splitlines() if not line.startswith("#")
        ]
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}

    async def measure(self) -> None:
        """One turn of the monitor."""
        await self.monitor._measure(self.stages.assignment.partitions)
