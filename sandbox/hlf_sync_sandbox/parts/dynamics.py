"""The Dynamics emulator (`hlf_sync_sandbox.dynamics`), as a process of its own."""

import os
import signal
import ssl
import sys
from pathlib import Path

import httpx

from hlf_sync_sandbox.layout import read_json
from hlf_sync_sandbox.parts.part import Site, Spawn
from hlf_sync_sandbox.ports import HOST
from hlf_sync_sandbox.process import Process

_PACKAGES = Path(__file__).parents[2]


class Dynamics:
    """Dataverse, the token service and their control interface."""

    name = "dynamics"
    port_names: tuple[str, ...] = ("dynamics",)
    deadline_s = 30.0
    stop_signal: int = signal.SIGTERM
    stop_deadline_s = 10.0

    def prepare(self, site: Site, spawn: Spawn) -> None:  # noqa: ARG002 - the protocol's signature
        """A folder for its certificates, contacts and journal."""
        site.layout.folder(self.name).mkdir(exist_ok=True, mode=0o700)

    def start(self, site: Site, spawn: Spawn) -> Process:
        """It writes dynamics.json when it listens."""
        folder = site.layout.folder(self.name)
        (folder / "dynamics.json").unlink(missing_ok=True)
        options = ["--state", str(folder), "--host", HOST, "--port", str(site.ports["dynamics"])]
        # Started in its own folder, it must find this package also when it is not installed.
        environ = {
            "PYTHONPATH": os.pathsep.join(
                (str(_PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")]))
            )
        }
        return spawn(
            self.name,
            [sys.executable, "-m", "hlf_sync_sandbox.dynamics", *options],
            cwd=folder,
            environ=environ,
        )

    def is_healthy(self, site: Site) -> bool:
        """Whether it answers at all; what it answers may be a fault that someone scripted."""
        found = settings(site)
        if not found:
            return False
        try:
            context = ssl.create_default_context(cafile=found["ca_file"])
            httpx.get(found["base_url"], timeout=2, trust_env=False, verify=context)
        except httpx.ConnectError:
            return False
        except (httpx.HTTPError, OSError):
            return True
        return True


def settings(site: Site) -> dict[str, str]:
    """What the emulator says of itself; empty before it is ready."""
    return {
        name: str(value)
        for name, value in read_json(site.layout.folder("dynamics") / "dynamics.json").items()
    }
