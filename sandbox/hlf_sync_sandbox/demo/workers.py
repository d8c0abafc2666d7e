"""The workers as the demo sees them, by their HTTP pages alone: a protocol, and the one for workers
that somebody else has started (docker-compose.yml).
"""

import http.client
import json
import re
import socket
from collections import Counter
from typing import Any, Protocol

from hlf_sync_sandbox.demo.errors import WorkerError

_PORT = 8080
_TIMEOUT_S = 5
_COUNTER = re.compile(r"^(hlf_sync_\w+)(?:\{(.*)\})? ([0-9.e+-]+)$", re.MULTILINE)


class Workers(Protocol):
    """One worker or more."""

    @property
    def log(self) -> object:
        """Where to read what they say, for an error's advice."""
        ...

    def check(self) -> None:
        """Raise `WorkerError` when there is none."""
        ...

    def status(self) -> dict[str, Any]:
        """Their /status; empty while none answers."""
        ...

    def count(self, metric: str, label: str = "") -> int:
        """The sum of a counter over the workers."""
        ...


class NamedWorkers:
    """All workers behind one DNS name, as Compose gives them: looked up at each question."""

    log = "docker compose logs worker"

    def __init__(self, name: str) -> None:
        self._name = name

    def check(self) -> None:
        """Raise `WorkerError` when the name has no address."""
        if not self._addresses():
            raise WorkerError(f"no worker runs under the name {self._name}", f"read `{self.log}`")

    def status(self) -> dict[str, Any]:
        """Lag and queues are added up; the circuit is the fleet's, so any worker's will do."""
        pages = [json.loads(page) for page in self._pages("/status")]
        if not pages:
            return {}
        queue: Counter[str] = Counter()
        for page in pages:
            queue.update(page["queue"])
        lag = {key: lag for page in pages for key, lag in page["lag"].items()}
        return {**pages[0], "queue": dict(queue), "lag": lag}

    def count(self, metric: str, label: str = "") -> int:
        """From each worker's /metrics."""
        return sum(counted(page, metric, label) for page in self._pages("/metrics"))

    def _addresses(self) -> list[str]:
        try:
            found = socket.getaddrinfo(self._name, _PORT, socket.AF_INET, socket.SOCK_STREAM)
        except socket.gaierror:
            return []
        return sorted({str(address[0]) for *_, address in found})

    def _pages(self, path: str) -> list[str]:
        pages = (get(address, _PORT, path) for address in self._addresses())
        return [body.decode() for code, body in pages if code == http.client.OK]


def counted(page: str, metric: str, label: str) -> int:
    """The sum of a counter on a /metrics page, over the label values that hold `label`."""
    return int(
        sum(
            float(value)
            for name, labels, value in _COUNTER.findall(page)
            if name == f"hlf_sync_{metric}" and label in labels
        )
    )


def get(host: str, port: int, path: str) -> tuple[int, bytes]:
    """One page; 0 and nothing when nobody answers."""
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()
