"""Our reader of HTTP/1.1 answers beside h11 and httptools: what each refuses, and what an answer costs.

`python -m bench.http_readers`. httptools is no requirement of ours; it is measured where it is
installed. `refused` counts the answers of tests/rooms/test_http1.py that are not exactly HTTP: a
reader that lets one through may take the rest for the next answer. CPU time of this thread, the
least of five rounds.
"""

import json
import time
from collections.abc import Callable

import h11
from hlf_sync.dynamics.http.http1 import MAX_HEAD_BYTES, ResponseError, ResponseReader

from tests.rooms import test_http1 as suite

try:
    import httptools  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    httptools = None

_ROUNDS, _ANSWERS = 5, 5_000
_HEADERS = b"".join(
    b"%s: %s\r\n" % pair
    for pair in (
        (b"Cache-Control", b"no-cache"),
        (b"Allow", b"OPTIONS,GET,HEAD,POST"),
        (b"x-ms-service-request-id", b"6f1a1f3c-0000-4000-8000-000000000001"),
        (
            b"Set-Cookie",
            b"ARRAffinity=0f" + b"0" * 60 + b"; domain=example; path=/; secure; HttpOnly",
        ),
        (b"Strict-Transport-Security", b"max-age=31536000; includeSubDomains"),
        (b"REQ_ID", b"6f1a1f3c-0000-4000-8000-000000000002"),
        (b"x-ms-ratelimit-time-remaining-xrm-requests", b"1,200.00"),
        (b"x-ms-ratelimit-burst-remaining-xrm-requests", b"5999"),
        (b"OData-Version", b"4.0"),
        (b"Preference-Applied", b"odata.include-annotations=*"),
        (b"Date", b"Sun, 29 Nov 2026 02:00:00 GMT"),
    )
)
ANSWER = b"HTTP/1.1 204 No Content\r\n" + _HEADERS + b"\r\n"
PAGE = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 64
    + b"0\r\n\r\n"
)
FLOOD = suite.CHUNKED + b"1\r\nx\r\n" * 45_000


def ours(data: bytes) -> tuple[int, int, bool]:
    """Status, length of the body, and whether the connection may serve another request."""
    reader = ResponseReader()
    reader.receive(data)
    if reader.head is None or not reader.is_complete:
        raise EOFError
    return reader.head.status, len(reader.take()), reader.is_reusable


def by_h11(data: bytes) -> tuple[int, int, bool]:
    """As a client that has sent a PATCH."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    connection.send(h11.Request(method="PATCH", target="/", headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    status, length = 0, 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            raise EOFError
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            length += len(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return status, length, not connection.trailing_data[0] and _is_open(connection)


def _is_open(connection: h11.Connection) -> bool:
    return connection.our_state is h11.DONE and connection.their_state is h11.DONE


class _Told:
    def __init__(self) -> None:
        self.is_complete, self.answers, self.length = False, 0, 0

    def on_header(self, _name: bytes, _value: bytes) -> None:
        """Its callers keep them."""

    def on_body(self, part: bytes) -> None:
        self.length += len(part)

    def on_message_complete(self) -> None:
        self.is_complete = True
        self.answers += 1


def by_httptools(data: bytes) -> tuple[int, int, bool]:
    """llhttp, as it is by default."""
    told = _Told()
    parser = httptools.HttpResponseParser(told)
    parser.feed_data(data)
    if not told.is_complete:
        raise EOFError
    return parser.get_status_code(), told.length, told.answers == 1 and parser.should_keep_alive()


def refuses(read: Callable[[bytes], object], answer: bytes) -> bool:
    """Whether it raises for an answer that can't be one; to wait for more is to let it through."""
    try:
        read(answer)
    except EOFError:
        return False
    except (ResponseError, h11.RemoteProtocolError):
        return True
    except Exception as error:
        if httptools is not None and isinstance(error, httptools.HttpParserError):
            return True
        raise
    return False


def cost_us(read: Callable[[bytes], object], data: bytes, times: int) -> float:
    """CPU of one answer."""
    best = float("inf")
    for _ in range(_ROUNDS):
        began_s = time.thread_time()
        for _ in range(times):
            read(data)
        best = min(best, time.thread_time() - began_s)
    return round(best / times * 1e6, 1)


def flood_ms(read: Callable[[bytes], object]) -> float:
    """CPU of 45,000 chunks of one byte in one network read."""
    began_s = time.thread_time()
    refuses(read, FLOOD)
    return round((time.thread_time() - began_s) * 1e3, 1)


def main() -> None:
    """Measure and print."""
    marks = vars(suite.test_what_is_not_exactly_http_is_an_error)["pytestmark"]
    wrong: list[bytes] = marks[0].args[1]
    readers: dict[str, Callable[[bytes], object]] = {"ours": ours, "h11": by_h11}
    if httptools is not None:
        readers["httptools"] = by_httptools
    twice = b"HTTP/1.1 204 No Content\r\n\r\n" * 2
    report = {
        name: {
            "refused": f"{sum(refuses(read, answer) for answer in wrong)} of {len(wrong)}",
            "let_through": [
                answer[:70].decode("latin-1") for answer in wrong if not refuses(read, answer)
            ],
            "more_than_announced_spoils_the_connection": read(twice)[2] is False,  # type: ignore[index]
            "answer_us": cost_us(read, ANSWER, _ANSWERS),
            "page_us": cost_us(read, PAGE, 200),
            "flood_ms": flood_ms(read),
        }
        for name, read in readers.items()
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
