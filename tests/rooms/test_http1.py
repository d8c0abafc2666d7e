"""The reader of HTTP/1.1 responses: exact about where an answer ends, whatever pieces
it comes in.
"""

import time

import pytest
from hlf_sync.dynamics.http.http1 import MAX_HEAD_BYTES, AnswerHead, ResponseError, ResponseReader
from hypothesis import given
from hypothesis import strategies as st

NO_CONTENT = b"HTTP/1.1 204 No Content\r\nOData-Version: 4.0\r\n\r\n"


def read(data: bytes, *, is_closed: bool = False) -> tuple[ResponseReader, bytes]:
    """Read all at once."""
    reader = ResponseReader()
    reader.receive(data)
    if is_closed:
        reader.receive_end()
    return reader, reader.take()


def head_of(reader: ResponseReader) -> AnswerHead:
    """The head, which must be there."""
    assert reader.head is not None
    return reader.head


def test_an_answer_without_a_body_is_complete_with_its_head() -> None:
    """204: the connection is free at once."""
    reader, body = read(NO_CONTENT)
    assert (head_of(reader).status, head_of(reader).fields, body) == (
        204,
        [(b"OData-Version", b"4.0")],
        b"",
    )
    assert reader.is_complete
    assert reader.is_reusable


@pytest.mark.parametrize("status", [204, 304, 101])
def test_some_statuses_have_no_body_whatever_they_announce(status: int) -> None:
    """RFC 9112, 6.3; and after 101 nobody speaks HTTP any more."""
    reader, _ = read(b"HTTP/1.1 %d X\r\nContent-Length: 500\r\n\r\n" % status)
    assert reader.is_complete
    assert reader.is_reusable == (status != 101)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nbody", b"body"),
        (
            b"HTTP/1.1 404 Not Found\r\ncontent-length:4\r\nContent-Length:  4\t\r\n\r\nbody",
            b"body",
        ),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b""),
        (
            (
                b"HTTP/1.1 500 X\r\nTransfer-Encoding:"
                b" Chunked\r\n\r\n3\r\nbod\r\n1;ext=1\r\ny\r\n0\r\n\r\n"
            ),
            b"body",
        ),
        (
            (
                b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n4"
                b" ;a\r\nbody\r\n000\r\nTrailer: x\r\n\r\n"
            ),
            b"body",
        ),
        (
            (
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1"
                b" 200 OK\r\nContent-Length: 4\r\n\r\nbody"
            ),
            b"body",
        ),
    ],
)
def test_a_body_ends_where_its_framing_says(answer: bytes, body: bytes) -> None:
    """By length, by chunks, after interim answers; in one piece or byte by byte."""
    reader, whole = read(answer)
    assert (whole, reader.is_complete, reader.is_reusable) == (body, True, True)
    slow, parts = ResponseReader(), []
    for number in range(len(answer)):
        assert not slow.is_complete
        slow.receive(answer[number : number + 1])
        parts.append(slow.take())
    assert (b"".join(parts), slow.is_complete, slow.is_reusable, slow.head) == (
        body,
        True,
        True,
        reader.head,
    )


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 4\r\n\r\n",
    ],
)
def test_a_connection_that_is_closing_serves_no_other_request(head: bytes) -> None:
    """No length, HTTP/1.0, or told so."""
    reader, body = read(head + b"body", is_closed=True)
    assert (body, reader.is_complete, reader.is_reusable) == (b"body", True, False)


@pytest.mark.parametrize(
    "answer", [NO_CONTENT, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"]
)
def test_more_than_was_announced_spoils_the_connection(answer: bytes) -> None:
    """Nobody knows what the rest is; it is never handed to the next request."""
    reader, body = read(answer + b"HTTP/1.1 204 No Content\r\n\r\n")
    assert reader.is_complete
    assert not reader.is_reusable
    assert body in {b"", b"body"}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 2",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbo",
    ],
)
def test_closing_in_the_middle_is_an_error(answer: bytes) -> None:
    """A truncated answer is none."""
    with pytest.raises(ResponseError):
        read(answer, is_closed=True)


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage!",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20\r\n\r\n",
        b"HTTP/1.1 2000 X\r\n\r\n",
        b"HTTP/1.1 000 X\r\n\r\n",
        b"HTTP/1.1  200 X\r\n\r\n",
        b"http/1.1 200 X\r\n\r\n",
        b"HTTP/1.1 200 X\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 X\r\nbad name: x\r\n\r\n",
        b"HTTP/1.1 200 X\r\n folded: x\r\n\r\n",
        b"HTTP/1.1 200 X\r\nA: x\ny\r\n\r\n",
        b"HTTP/1.1 200 X\r\nA: x\x00\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 4, 4\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: -4\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 0x4\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 9999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: identity\r\n\r\n",
        b"HTTP/1.0 200 X\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n123456789\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbody\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2000,
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 100,
        b"HTTP/1.1 100 X\r\n\r\n" * 9,
        b"HTTP/1.1 200 X\r\nA: " + b"x" * (MAX_HEAD_BYTES + 1),
        b"HTTP/1.1 200 X\r\nA: " + b"x" * (MAX_HEAD_BYTES + 1) + b"\r\n\r\n",
    ],
)
def test_what_is_not_exactly_http_is_an_error(answer: bytes) -> None:
    """A reader that guesses mixes answers up."""
    with pytest.raises(ResponseError):
        read(answer)


def test_bytes_wait_until_they_are_taken() -> None:
    """What the connection holds a server back by."""
    reader = ResponseReader()
    reader.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
    assert reader.waiting_bytes == 5
    assert reader.take() == b"12345"
    assert (reader.waiting_bytes, reader.take(), reader.is_complete) == (0, b"", False)


statuses = st.integers(100, 599)
fields = st.lists(
    st.tuples(
        st.sampled_from([b"Content-Length", b"Transfer-Encoding", b"Connection", b"A"]),
        st.sampled_from([b"0", b"3", b"chunked", b"close", b"x"]),
    )
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Bytes that are more or less an answer."""
    lines = [
        b"HTTP/1.%d %d X" % (draw(st.integers(0, 1)), draw(statuses)),
        *(name + b": " + value for name, value in draw(fields)),
    ]
    tail = draw(
        st.one_of(
            st.binary(max_size=20),
            st.sampled_from([b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"0\r\nA: b\r\n\r\n"]),
        )
    )
    return b"\r\n".join(lines) + b"\r\n\r\n" + tail


def outcome(pieces: list[bytes]) -> tuple[object, ...]:
    """What reading these pieces comes to."""
    reader, body = ResponseReader(), b""
    try:
        for piece in pieces:
            reader.receive(piece)
            body += reader.take()
    except ResponseError:
        return ("error",)
    return (reader.head, body, reader.is_complete, reader.is_reusable)


@given(st.one_of(answers(), st.binary(max_size=60)), st.data())
def test_pieces_do_not_matter(data: bytes, draw: st.DataObject) -> None:
    """All at once, byte by byte, or cut anywhere: the same answer, or an error in each; never
    another exception.
    """
    cut = draw.draw(st.integers(0, len(data)))
    bytewise = outcome([data[number : number + 1] for number in range(len(data))])
    assert outcome([data]) == bytewise
    assert outcome([data[:cut], data[cut:]]) == bytewise


@given(statuses.filter(lambda status: status >= 200), st.binary(max_size=200), st.integers(1, 50))
def test_what_a_server_wrote_is_what_is_read(status: int, body: bytes, size: int) -> None:
    """With a length and in chunks."""
    if status in {204, 304}:
        body = b""
    plain = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body
    chunks = b"".join(
        b"%x\r\n" % len(body[i : i + size]) + body[i : i + size] + b"\r\n"
        for i in range(0, len(body), size)
    )
    chunked = b"HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n" % status + (
        b"" if status in {204, 304} else chunks + b"0\r\n\r\n"
    )
    for answer in (plain, chunked):
        reader, read_body = read(answer)
        assert (head_of(reader).status, read_body, reader.is_complete, reader.is_reusable) == (
            status,
            body,
            True,
            True,
        )


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.requirement("R68")
def test_chunks_of_one_byte_cannot_hold_the_loop() -> None:
    """256 KiB of them in one network read took 0.9 s, during which nothing else happened: now it
    is some milliseconds, and then the answer is refused.
    """
    reader = ResponseReader()
    reader.receive(CHUNKED)
    began_s = time.process_time()
    with pytest.raises(ResponseError, match="few bytes"):
        reader.receive(b"1\r\nx\r\n" * 45_000)
    assert time.process_time() - began_s < 0.1


def test_small_chunks_are_read_as_long_as_they_come_to_an_end() -> None:
    """Two thousand of one byte, and any number of decent ones, in one network read or in many."""
    few = CHUNKED + b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n"
    many = CHUNKED + (b"80\r\n" + b"x" * 128 + b"\r\n") * 8000 + b"0\r\n\r\n"
    for data, length in ((few, 2000), (many, 128 * 8000)):
        reader, body = read(data)
        assert (len(body), reader.is_complete, reader.is_reusable) == (length, True, True)
