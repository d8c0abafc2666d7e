"""The worker of the demo: `hlf-sync run` as a process of its own, as in production. Called by
`production`.

Must not reach into the worker: what it does is seen on its HTTP pages and in its log only.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from hlf_sync_sandbox import ports
from hlf_sync_sandbox.demo.errors import WorkerError
from hlf_sync_sandbox.demo.workers import counted, get
from hlf_sync_sandbox.layout import tail
from hlf_sync_sandbox.process import MARK

# What the demo sets otherwise than the defaults, so that two minutes show everything. Shown on the
# screen.
HURRIED = {
    "HLF_SYNC_PACE_REQUESTS_PER_S": "400",
    "HLF_SYNC_PACE_BURST": "50",
    "HLF_SYNC_PACE_CONCURRENCY": "32",
    "HLF_SYNC_BREAKER_COOL_DOWN_S": "5",
    "HLF_SYNC_LATE_EFFECT_S": "5",
    "HLF_SYNC_RETRY_BASE_DELAY_S": "0.5",
    "HLF_SYNC_RETRY_MAX_DELAY_S": "2",
}
_STOP_S = 25.0


class Worker:
    """One `hlf-sync run`."""

    def __init__(self, env_file: Path, root: Path) -> None:
        self.log = root / "logs" / "worker.log"
        self.port = next(
            port
            for port in range(15_000, 30_000)
            if port not in ports.read(root / "ports.json").values() and ports.is_free(port)
        )
        # The mark lets `sandbox down` find it should this process be killed. A session of its own:
        # Ctrl-C reaches the demo alone, which stops it.
        environ = _clean() | HURRIED | {"HLF_SYNC_HTTP_PORT": str(self.port), MARK: str(root)}
        command = [sys.executable, "-m", "hlf_sync", "run", "--env-file", str(env_file)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=environ,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise `WorkerError` when it has ended."""
        code = self._process.poll()
        if code is not None:
            raise WorkerError(
                f"the worker ended with exit code {code}", f"read {self.log}", tail(self.log)
            )

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        return self._get("/readyz")[0] == http.client.OK

    def status(self) -> dict[str, Any]:
        """Its /status; empty while it does not answer."""
        code, body = self._get("/status")
        found: dict[str, Any] = json.loads(body) if code == http.client.OK else {}
        return found

    def count(self, metric: str, label: str = "") -> int:
        """The sum of a counter from /metrics, over the label values that hold `label`."""
        return counted(self._get("/metrics")[1].decode(), metric, label)

    def stop(self) -> None:
        """Ask it to drain and wait; kill it only when it does not."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _get(self, path: str) -> tuple[int, bytes]:
        return get(ports.HOST, self.port, path)


def _clean() -> dict[str, str]:
    # Settings of the person's own shell would lead the worker elsewhere: the environment wins over
    # the env file.
    return {name: value for name, value in os.environ.items() if not name.startswith("HLF_SYNC_")}
