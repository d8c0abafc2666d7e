"""What a flood has taken goes back when it is over."""

import subprocess
import sys

import pytest

# A process of its own: the memory of this one is everybody's. The collector is off, as it nearly is
# in a worker; the flood comes in several threads, as librdkafka's does.
_FLOOD = """
import asyncio, ctypes, gc, sys, threading
from pathlib import Path
from hlf_sync.worker.memory import bound_arenas, keep_flat

bound_arenas()
gc.disable()

def rss():
    line = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmRSS"))
    return int(line.split()[1]) / 1024

def flood():
    for _ in range(60_000):
        first, second = [bytes(700)], [bytes(700)]
        first.append(second), second.append(first)

before = rss()
threads = [threading.Thread(target=flood) for _ in range(4)]
[one.start() for one in threads], [one.join() for one in threads]
full = rss()

async def main():
    task = asyncio.create_task(keep_flat(lambda: True, every_s=0.0))
    async with asyncio.timeout(60):
        while rss() > before + 40:
            await asyncio.sleep(0.05)
    task.cancel()

print(round(full - before))
asyncio.run(main())
print(round(rss() - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and trims glibc's memory")
@pytest.mark.requirement("R68")
def test_what_a_flood_took_goes_back_once_nothing_waits() -> None:
    """Some 350 MiB in cycles, which no collector looked at."""
    ran = subprocess.run(
        [sys.executable, "-c", _FLOOD], capture_output=True, text=True, timeout=110, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    full, left = map(int, ran.stdout.split())
    assert full > 200
    assert left <= 40
