"""What a scrape costs with 10,000 pending mentors of ten changes each in the queue: the whole of
/metrics and of /status, in one process, no I/O.

    python bench/scrape.py [MENTORS]

Beside it, for scale, prometheus_client's own page of as many samples. Ends with an error above 50
ms.
"""

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hlf_sync.core.model import Change, MentorId, Position, Trigger
from hlf_sync.postgres.connections import open_pool
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from tests.fakes.overseen import Overseen
from tests.fakes.worker import Options, ScriptedDynamics, TestBench

MENTORS = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
CHANGES = 10
LIMIT_MS = 50


async def measure() -> dict[str, float]:
    """Fill the queue, then time the pages."""
    overseen = await filled()
    page, status = timed(overseen.scrape.page), timed(overseen.status.snapshot)
    samples = len(overseen.page())
    return {
        "mentors": MENTORS,
        "changes": MENTORS * CHANGES,
        "samples": samples,
        "scrape_ms": page,
        "status_ms": status,
        "bare_page_ms": timed(bare(samples)),
    }


async def filled() -> Overseen:
    """A worker that holds all these mentors."""
    bench = TestBench(open_pool("", size=1), ScriptedDynamics(), Options())
    overseen = Overseen(bench)
    bench.worker.assigned([0, 1, 2, 3])
    mentors = [MentorId(str(uuid.uuid4())) for _ in range(MENTORS)]
    for offset in range(MENTORS * CHANGES):
        change = Change(
            mentors[offset % MENTORS],
            Trigger.STATUS_CHANGE,
            Position(offset % 4, offset, 1),
            1_700_000_000_000 + offset,
        )
        overseen.stages.queue.add(change, 0)
    await overseen.measure()
    return overseen


def timed(work: Callable[[], object]) -> float:
    """The median of twenty, in milliseconds."""
    spans = []
    for _ in range(20):
        started = time.perf_counter()
        work()
        spans.append((time.perf_counter() - started) * 1000)
    return round(median(spans), 2)


def bare(samples: int) -> Callable[[], bytes]:
    """Plain gauges, as many as our page has samples."""
    registry = CollectorRegistry()
    gauge = Gauge("bare", "for scale", ["number"], registry=registry)
    for number in range(samples):
        gauge.labels(str(number)).set(number)
    return lambda: generate_latest(registry)


if __name__ == "__main__":
    report = asyncio.run(measure())
    print(json.dumps(report, indent=2))
    if report["scrape_ms"] > LIMIT_MS:
        sys.exit(f"a scrape took longer than {LIMIT_MS} ms")
