"""A log collector that can stand still: a worker's stdout is a pipe, as under a supervisor, and a
process of its own copies it into a file.
"""

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# One page, the least that there is: else 64 KiB would have to be filled before anybody notices.
_PIPE_BYTES = 4096


class Collector:
    """`pipe` is where to write, `file` what was collected."""

    def __init__(self, folder: Path, name: str) -> None:
        self.pipe, self.file = folder / f"{name}.pipe", folder / f"{name}.log"
        os.mkfifo(self.pipe)
        self._held = os.open(
            self.pipe, os.O_RDWR
        )  # so that neither end waits for the other to open it
        fcntl.fcntl(self._held, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        with self.file.open("wb") as output:
            self._process = subprocess.Popen(["cat", str(self.pipe)], stdout=output)

    def stand_still(self) -> None:
        """Take nothing any more."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Take what comes, again."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(10)
        os.close(self._held)


@contextmanager
def collecting(folder: Path, name: str) -> Iterator[Collector]:
    """One that lasts as long as the block."""
    collector = Collector(folder, name)
    try:
        yield collector
    finally:
        collector.close()
