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
        # Whether the heartbeat moves its position while it runs.
        self.is_moving = True
        # What it becomes, so many looks after it was begun: a producer's error is told late.
        self.later: tuple[int, str] | None = None
        self.steps: list[str] = []
        # The state that a step ends in, where it is not the one that was asked for.
        self.becomes: dict[str, str] = {}
        # The step that is answered with 503.
        self.refuses = ""
        self.trace = ""
        self.address = ""

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        """What Connect answers, and what that does."""
        if path == "/":
            return 200, {"version": "4.3.1"}
        if self.state is None:
            return 404, {"error_code": 404}
        step = path.removeprefix(f"/connectors/{NAME}/").partition("?")[0]
        if method == "GET":
            return 200, self._shown(step)
        if f"{method} {step}" == self.refuses:
            return 503, {"error_code": 503}
        self._do(method, step)
        self.steps.append(f"{method} {step}")
        return 202, {}

    def _shown(self, what: str) -> Any:
        if what == "config":
            return {"heartbeat.action.query": "UPDATE …"}
        if what == "status":
            self._go_on()
            tasks = (
                [{"id": 0, "state": self.state, "trace": self.trace}]
                if self.state != "STOPPED"
                else []
            )
            return {"connector": {"state": self.state}, "tasks": tasks}
        if self.is_moving and self.steps and self.state == "RUNNING":
            self.position = (self.position or 0) + 1
        noted = [] if self.position is None else [{"lsn_proc": self.position, "lsn": 5}]
        return {"offsets": [{"partition": {}, "offset": one} for one in noted]}

    def _go_on(self) -> None:
        if self.later is not None and self.steps:
            looks, state = self.later
            self.later = (looks - 1, state) if looks else None
            self.state = self.state if looks else state

    def _do(self, method: str, step: str) -> None:
        states = {"stop": "STOPPED", "pause": "PAUSED", "resume": "RUNNING", **self.becomes}
        if method == "DELETE":
            assert (step, self.state) == ("offsets", "STOPPED")
            self.position = None
        self.state = states.get(step, self.state)


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
