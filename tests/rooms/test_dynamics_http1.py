"""The emulator's request reader: any bytes give requests, 'more' or BadRequest, however they are
cut.
"""

import pytest
from hlf_sync_sandbox.dynamics.http1 import BadRequest, Request, RequestReader
from hypothesis import given
from hypothesis import strategies as st

PATCH = (
    b"PATCH /api/data/v9.2/contacts(6f1a1f3c-0000-4000-8000-000000000001)?$select=a"
    b" HTTP/1.1\r\nHost: h:1\r\nIf-Match: *\r\nContent-Length:"
    b' 27\r\n\r\n{"new_showonwebsite":false}'
)
CHUNKED = (
    b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:"
    b" chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nT: v\r\n\r\n"
)


def read(*pieces: bytes) -> list[Request]:
    """All requests in pieces of bytes."""
    reader, found = RequestReader(), []
    for piece in pieces:
        reader.feed(piece)
        while (request := reader.next_request()) is not None:
            found.append(request)
    return found


def test_a_request_is_read_whole() -> None:
    """Method, path, query, headers in lower case, body."""
    (request,) = read(PATCH)
    assert (request.method, request.query, request.body) == (
        "PATCH",
        "$select=a",
        b'{"new_showonwebsite":false}',
    )
    assert request.headers == {"host": "h:1", "if-match": "*", "content-length": "27"}
    assert request.keep_alive is True


def test_chunks_are_joined() -> None:
    """With extensions and trailers, which are dropped."""
    assert [request.body for request in read(CHUNKED)] == [b"abcdefg"]


@given(st.integers(1, 40))
def test_how_the_bytes_are_cut_changes_nothing(size: int) -> None:
    """Byte by byte equals all at once."""
    stream = PATCH + CHUNKED + PATCH
    assert read(*[stream[at : at + size] for at in range(0, len(stream), size)]) == read(stream)


@given(
    st.binary(max_size=400)
    | st.tuples(st.binary(max_size=30), st.integers(0, len(PATCH))).map(
        lambda pair: PATCH[: pair[1]] + pair[0] + PATCH[pair[1] :]
    )
)
def test_any_bytes_give_requests_or_bad_request(stream: bytes) -> None:
    """Never another exception, and always a status in the 4xx or 5xx."""
    try:
        read(stream + b"\r\n\r\n")
    except BadRequest as bad:
        assert 400 <= bad.status < 600  # noqa: PT017 - either way is right


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        (b"GET / HTTP/2\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n", 400),
        (b"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /" + b"a" * 70_000, 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n", 413),
    ],
)
def test_what_is_no_request_has_its_status(stream: bytes, status: int) -> None:
    """The framing attacks among them."""
    with pytest.raises(BadRequest) as caught:
        read(stream)
    assert caught.value.status == status
