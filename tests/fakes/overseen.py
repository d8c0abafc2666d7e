"""A worker of `TestBench` with everything that oversees it: monitor, watch, status, page. Kafka's
offsets and thread are plain values.
"""

import asyncio
from dataclasses import dataclass, field
from time import time_ns
from typing import Any

from hlf_sync.core.lag import Extent
from hlf_sync.kafka.consumer_thread import Trouble
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
        self.watch = watch or FleetWatch(
            pool=None,
            facts=None,
            rules=None,
            heartbeats=None,
            replayed=None,
            connector_status=None,
            registry=None,
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
