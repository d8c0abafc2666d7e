"""How long a part of the sandbox may take until it is healthy: longer where the machine is busy."""

import os
import socket
import time
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from hlf_sync_sandbox import bringup
from hlf_sync_sandbox.process import Process, birth_of

_DEADLINE_S = 0.2


@dataclass
class Slow:
    """Healthy after three times its deadline."""

    began_s: float
    deadline_s: float = _DEADLINE_S
    name: str = "slow"
    port_names: tuple[str, ...] = ("slow",)

    def is_healthy(self, _site: object) -> bool:
        return time.monotonic() > self.began_s + 3 * _DEADLINE_S


@pytest.mark.enable_socket
@pytest.mark.parametrize(("per_core", "is_in_time"), [(0.5, False), (4.0, True), (100.0, True)])
def test_a_part_has_more_time_where_each_core_serves_several(
    monkeypatch: pytest.MonkeyPatch, per_core: float, is_in_time: bool
) -> None:
    load = per_core * (os.cpu_count() or 1)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        site = SimpleNamespace(
            ports={"slow": listener.getsockname()[1]}, pause=lambda: time.sleep(0.01)
        )
        process = Process(os.getpid(), birth_of(os.getpid()) or "")
        part = Slow(time.monotonic())
        found = bringup._becomes_healthy(site, part, process)  # type: ignore[arg-type]
    assert found is is_in_time
