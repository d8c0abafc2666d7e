"""Which processes a sandbox has: `processes.json` for us, `pids.json` for others.

Called by `hlf_sync_sandbox.stack`, from several threads during `up`. Written at every change by an
atomic replacement, so that whoever comes after a killed `up` reads something whole.
"""

import json
import threading

from hlf_sync_sandbox.layout import Layout, read_json, write_private
from hlf_sync_sandbox.process import Process, is_running


class Roster:
    """Part → process. A part that is written down may be dead."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self._processes = _read(layout)

    def add(self, part: str, process: Process) -> None:
        """A part was started."""
        with self._lock:
            self._processes[part] = process
            self._write()

    def remove(self, part: str) -> None:
        """A part was stopped."""
        with self._lock:
            if self._processes.pop(part, None):
                self._write()

    def running(self) -> dict[str, Process]:
        """Those that live."""
        with self._lock:
            return {
                part: process for part, process in self._processes.items() if is_running(process)
            }

    def _write(self) -> None:
        content = {
            part: {"pid": process.pid, "birth": process.birth}
            for part, process in self._processes.items()
        }
        write_private(self._layout.processes, json.dumps(content, indent=1) + "\n")
        pids = {part: process.pid for part, process in self._processes.items()}
        write_private(self._layout.pids, json.dumps(pids, indent=1) + "\n")


def _read(layout: Layout) -> dict[str, Process]:
    found = {}
    for part, entry in read_json(layout.processes).items():
        if isinstance(entry, dict) and isinstance(entry.get("pid"), int):
            found[part] = Process(entry["pid"], str(entry.get("birth")))
    return found
