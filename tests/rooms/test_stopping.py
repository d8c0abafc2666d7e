"""How a worker ends when something hangs: never later than its deadline, and at once at a second
signal. In processes of their own.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

WAYS = ("thread", "executor", "loop", "wedged")


@contextmanager
def stubborn(way: str, deadline_s: float) -> Iterator["subprocess.Popen[str]"]:
    """A process whose end hangs in this way, ready to be told to stop."""
    command = [sys.executable, "-m", "tests.fixtures.stubborn_worker", way, str(deadline_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.requirement("R46")
@pytest.mark.parametrize("way", WAYS)
def test_whatever_hangs_the_process_ends_at_its_deadline(way: str) -> None:
    """Exit code 5, which says that something was cut short, and a line that says so too."""
    with stubborn(way, 0.3) as process:
        began_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
        assert process.returncode == 5
        assert time.monotonic() - began_s < 5
        assert "cut_short" in output


@pytest.mark.parametrize("way", WAYS)
def test_a_second_signal_ends_it_at_once(way: str) -> None:
    """Whoever presses Ctrl-C twice does not wait for the deadline."""
    with stubborn(way, 600) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None and '"stopping"' in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 5


_ENDED_BY_ITSELF = """
import asyncio, os, signal
from hlf_sync.worker.shutdown import stop_on_signals

async def main():
    stop_on_signals(30)

asyncio.run(main())
os.kill(os.getpid(), signal.SIGTERM)
raise SystemExit(4)
"""


def test_a_signal_to_a_worker_that_has_ended_by_itself_keeps_its_exit_code() -> None:
    """Its event loop is closed already, and the process about to end."""
    ended = subprocess.run(
        [sys.executable, "-c", _ENDED_BY_ITSELF],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (4, "")
