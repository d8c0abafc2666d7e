"""A worker's pages as text, and a server of this machine that answers with them: what `hlf-sync
top` looks at.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

QUIET: dict[str, Any] = {
    "verdict": "ok",
    "circuit": {"state": "closed", "opened_at": None, "failure_count": 0, "last_error_code": None},
    "delivery": "live",
    "halted": [],
    "lag": {"hlf.mentor.changes-0": 0, "hlf.mentor.changes-1": 0},
    "freshness_s": 0.0,
    "queue": {"dirty": 0, "in_progress": 0, "waiting": 0},
    "assignment": [0, 1],
    "leader": True,
    "dead_letters_open": 0,
    "dependencies_down": [],
}
OPEN = {"state": "open", "opened_at": 1.0, "failure_count": 3, "last_error_code": "server_error"}


def status(**changed: object) -> dict[str, Any]:
    """A worker's /status that is well, but for what is changed."""
    return {**QUIET, **changed}


def metrics(samples: Mapping[str, float]) -> str:
    """An exposition of these samples, each written as Prometheus does."""
    return "".join(f"{name} {value}\n" for name, value in samples.items())


class Pages:
    """What the server says now; None: it drops the connection."""

    def __init__(self) -> None:
        self.status: object | None = status()
        self.metrics = metrics({})
        self.address = ""


@contextmanager
def worker() -> Iterator[Pages]:
    """A server with the two pages."""
    pages = Pages()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if pages.status is None:
                self.close_connection = True
                return
            body = pages.status if isinstance(pages.status, str) else json.dumps(pages.status)
            content = (body if self.path == "/status" else pages.metrics).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name there
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    pages.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield pages
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
