"""The proxy that stands in the way, on real sockets."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.chaos.faults import _STRANGE
from tests.chaos.proxy import Proxy


class _Connect(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Kafka Connect."""
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """In front of something that answers."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Connect)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    proxy = Proxy(server.server_address[1])
    yield proxy
    proxy.close()
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.mark.parametrize("answer", _STRANGE)
def test_a_strange_answer_comes_on_kept_connections_too_until_it_is_undone(
    proxy: Proxy, answer: bytes
) -> None:
    """As a whole answer, so that what is strange about it is what it says."""
    url = f"http://127.0.0.1:{proxy.port}/"
    status = int(answer.split(b" ")[1])
    with httpx.Client(trust_env=False) as kept:
        assert kept.get(url).content == b"{}"
        undo = proxy.say(answer)
        with kept.stream("GET", url) as said:
            assert said.status_code == status
            assert b"".join(said.iter_raw()) == answer.partition(b"\r\n\r\n")[2]
        undo()
        assert kept.get(url).content == b"{}"
    assert proxy.all_troubles()
