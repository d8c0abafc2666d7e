"""Starts an emulator as a process of its own and waits until it answers: for tests, benchmarks and
the sandbox.

The process is found by its own pid only, and stopped at the end of the context whatever happened
inside.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from hlf_sync_sandbox.dynamics.control import ControlError, DynamicsControl, read_settings

_READY_S = 20.0
_STOP_S = 5.0


@contextmanager
def running_emulator(directory: Path, *options: str) -> Iterator[DynamicsControl]:
    """Run an emulator on a state directory, with options of its command line; give the means to
    steer it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "dynamics.out").open("w+b") as output:
        process = start_emulator(directory, *options, output=output)
        try:
            yield wait_until_ready(process, directory, output)
        finally:
            stop(process)


def start_emulator(directory: Path, *options: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the process; what it says goes to `output`."""
    command = [
        sys.executable,
        "-m",
        "hlf_sync_sandbox.dynamics",
        "--state",
        str(directory),
        *options,
    ]
    return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def wait_until_ready(
    process: subprocess.Popen[bytes], directory: Path, output: IO[bytes]
) -> DynamicsControl:
    """Wait for dynamics.json of exactly this process; `ControlError` with its last words if it ends
    before.
    """
    end_s = time.monotonic() + _READY_S
    while time.monotonic() < end_s:
        if process.poll() is not None:
            output.seek(0)
            words = output.read()[-2000:].decode("utf-8", "replace")
            msg = f"the emulator ended at once with {process.returncode}: {words}"
            raise ControlError(msg)
        try:
            if read_settings(directory)["pid"] == process.pid:
                return DynamicsControl(directory)
        except ControlError:
            pass
        time.sleep(0.02)
    stop(process)
    msg = f"the emulator was not ready after {_READY_S} s"
    raise ControlError(msg)


def stop(process: subprocess.Popen[bytes]) -> int:
    """Ask the process to end, then insist; give its exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()
