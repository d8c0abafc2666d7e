"""What every part of the stack offers to `hlf_sync_sandbox.stack`, and what it is given. Starts
nothing itself.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hlf_sync_sandbox.errors import PartError, StoppedError
from hlf_sync_sandbox.jars import Jar
from hlf_sync_sandbox.layout import Layout, tail
from hlf_sync_sandbox.ports import HOST
from hlf_sync_sandbox.process import Process, exit_code, is_running

_PAUSE_S = 0.05


@dataclass(frozen=True)
class Site:
    """Where a sandbox lives and what it was given: the same for all parts, fixed during
    one `up`.
    """

    layout: Layout
    cache: Path
    ports: Mapping[str, int]
    passwords: Mapping[str, str]
    jars: Mapping[str, tuple[Jar, ...]]
    stop: threading.Event = field(default_factory=threading.Event)

    def address(self, port_name: str) -> str:
        """`host:port`."""
        return f"{HOST}:{self.ports[port_name]}"

    def pause(self) -> None:
        """Wait a moment between two looks at something. Raises `StoppedError` when the whole `up`
        is being given up.
        """
        if self.stop.wait(_PAUSE_S):
            raise StoppedError

    def wait_ended(self, part: str, process: Process, deadline_s: float, doing: str) -> None:
        """Wait for a short-lived process and see that it succeeded."""
        for _ in range(int(deadline_s / _PAUSE_S)):
            if not is_running(process):
                break
            self.pause()
        code = exit_code(process)
        if code != 0:
            how = "did not end in time" if code is None else f"failed (exit code {code})"
            raise PartError(part, f"{doing} {how}", *self.advice(part))

    def advice(self, part: str) -> tuple[str, str]:
        """What to do about a part whose log says more than we know, and the log's end."""
        log = self.layout.log(part)
        end = tail(log)
        if "No space left on device" in end:
            return (
                (
                    f"the disk is full: free space below {self.layout.root}, then run `sandbox up`"
                    " again"
                ),
                end,
            )
        return (
            f"read {log}; then run `sandbox up` again, or `sandbox down --wipe` to begin anew",
            end,
        )


# Starts a process for a part and writes it down at once: a killed `up` must not leave one that
# nobody knows.
Spawn = Callable[..., Process]


class Part(Protocol):
    """One server of the stack."""

    name: str
    # Ports that must be free before it starts.
    port_names: tuple[str, ...]
    # How long it may take to become healthy.
    deadline_s: float
    # How it is asked to end, and how long it may take.
    stop_signal: int
    stop_deadline_s: float

    def prepare(self, site: Site, spawn: Spawn) -> None:
        """Whatever must be done once, before the first start."""

    def start(self, site: Site, spawn: Spawn) -> Process:
        """Start the server; returns at once."""

    def is_healthy(self, site: Site) -> bool:
        """Whether it does its work: one quick look."""
