"""Kafka Connect's REST interface with one connector, as a server of this machine."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NAME = "hlf-mentor-cdc"


class Connect:
    """One connector: its state, what it has noted, and the steps that were asked of it."""

    def __init__(self) -> None:
        self.state: str | None = "RUNNING"
        self.position: int | None = 0x1_0000_00FF
        self.steps: list[str] = []
        self.address = ""

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        """What Connect answers, and what that does."""
        if self.state is None:
            return 404, {"error_code": 404}
        step = path.removeprefix(f"/connectors/{NAME}/").partition("?")[0]
        match method, step:
            case "GET", "status":
                tasks = [{"id": 0, "state": self.state}] if self.state != "STOPPED" else []
                return 200, {"connector": {"state": self.state}, "tasks": tasks}
            case "GET", "offsets":
                noted = [] if self.position is None else [{"lsn_proc": self.position, "lsn": 5}]
                return 200, {"offsets": [{"partition": {}, "offset": one} for one in noted]}
            case "DELETE", "offsets" if self.state == "STOPPED":
                self.position = None
            case "PUT", "stop":
                self.state = "STOPPED"
            case "PUT", "pause":
                self.state = "PAUSED"
            case "PUT", "resume":
                self.state = "RUNNING"
            case "POST", "restart":
                pass
            case _:
                return 400, {"error_code": 400}
        self.steps.append(f"{method} {step}")
        return 202, {}


@contextmanager
def running() -> Iterator[Connect]:
    """A server with it."""
    connect = Connect()

    class Answer(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            status, body = connect.answer(self.command, self.path)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - their names there

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name there
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    connect.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield connect
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
