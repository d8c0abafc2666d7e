"""Our transport on real sockets: what a hostile or broken server can do, TLS, the environment's
proxy, and what really goes over the wire.
"""

import asyncio
import gzip
import os
import ssl
import warnings
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from hlf_sync.core.answer import TransportFailure
from hlf_sync.core.model import ErrorCode
from hlf_sync.core.verdict import Course, judge
from hlf_sync.dynamics.answers import answer_of
from hlf_sync.dynamics.http.exchange import MAX_BODY_BYTES, Exchange, exchange
from hlf_sync.dynamics.http.plain import PlainRequest
from hlf_sync.dynamics.http.transport import PooledTransport, open_transport
from hlf_sync.dynamics.http.trust import trust
from hlf_sync.errors import SettingsError
from hlf_sync_sandbox.dynamics.tls import ca_path, server_context
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

Serving = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 204 No Content\r\nOData-Version: 4.0\r\n\r\n"


@asynccontextmanager
async def serving(serve: Serving, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on a free port of loopback for as long as the context lasts."""
    tasks: set[asyncio.Task[None]] = set()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One whole request."""
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [
        line.split(b":")[1]
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    ]
    return head + (await reader.readexactly(int(lengths[0])) if lengths else b"")


def answering(answer: bytes, *, then: str = "keep") -> Serving:
    """Serve every request with these bytes; then keep the connection, close it, or reset it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(answer)
            if then == "reset":
                writer.transport.abort()
                return
            await writer.drain()
            if then == "close":
                return

    return serve


def patch(port: int, scheme: str = "http") -> PlainRequest:
    """A request as the client makes it."""
    fields = CIMultiDict(
        {
            "Authorization": "Bearer t",
            "If-Match": "*",
            "Accept-Encoding": "identity",
            "User-Agent": "hlf-sync/0",
        }
    )
    fields["Accept"] = fields["Content-Type"] = "application/json"
    return PlainRequest(
        "PATCH", f"{scheme}://127.0.0.1:{port}/api/data/v9.2/contacts(1)", fields, b'{"a":false}'
    )


@asynccontextmanager
async def opened(
    ca_file: Path | None = None, connections: int = 2
) -> AsyncIterator[PooledTransport]:
    """A transport, closed at the end."""
    transport = open_transport(ca_file=ca_file, connections=connections, request_timeout_s=2.0)
    try:
        yield transport
    finally:
        await transport.aclose()


async def ask(serve: Serving, *, timeout_s: float = 2.0) -> Exchange | TransportFailure:
    """One exchange with that server."""
    async with serving(serve) as port, opened() as transport:
        return await exchange(transport, patch(port), timeout_s=timeout_s)


@pytest.mark.requirement("R22")
@pytest.mark.requirement("R25")
async def test_the_bytes_on_the_wire_are_the_request_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No cookie that was set before, no header of a library, no proxy of the environment, one
    connection for both requests.
    """
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    seen: list[bytes] = []
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            seen.append(await read_request(reader))
            writer.write(
                OK.replace(
                    b"\r\n\r\n", b"\r\nSet-Cookie: ARRAffinity=abc; path=/; HttpOnly\r\n\r\n"
                )
            )

    async with serving(serve) as port, opened() as transport:
        for _ in range(2):
            assert (
                await exchange(transport, patch(port), timeout_s=2.0) is not TransportFailure.RESET
            )
    assert seen[0] == seen[1]
    head, body = seen[0].split(b"\r\n\r\n")
    assert head.decode().split("\r\n") == [
        "PATCH /api/data/v9.2/contacts(1) HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Authorization: Bearer t",
        "If-Match: *",
        "Accept-Encoding: identity",
        "User-Agent: hlf-sync/0",
        "Accept: application/json",
        "Content-Type: application/json",
        "Content-Length: 11",
    ]
    assert body == b'{"a":false}'
    assert connections == 1


async def test_an_ordinary_request_of_httpx_goes_out_as_well() -> None:
    """What the token endpoint sends: the transport is a transport like any other."""
    async with (
        serving(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")) as port,
        opened() as transport,
    ):
        outcome = await exchange(
            transport,
            httpx.Request("POST", f"http://127.0.0.1:{port}/x?a=b", content=b"y=z"),
            timeout_s=2.0,
        )
    assert isinstance(outcome, Exchange)
    assert (outcome.status, outcome.body) == (200, b"{}")


@pytest.mark.parametrize(
    ("answer", "then", "expected"),
    [
        (b"", "close", TransportFailure.RESET),
        (b"", "reset", TransportFailure.RESET),
        (b"HTTP/1.1 20", "close", TransportFailure.RESET),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Le", "close", TransportFailure.RESET),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "keep", TransportFailure.PROTOCOL),
        (b"garbage\r\n\r\n", "close", TransportFailure.PROTOCOL),
        (b"HTTP/1.1 204 No Content\r\nbroken header\r\n\r\n", "close", TransportFailure.PROTOCOL),
        (
            b"HTTP/1.1 204 No Content\r\nA: " + b"x" * 40_000 + b"\r\n\r\n",
            "close",
            TransportFailure.PROTOCOL,
        ),
        (b"\x16\x03\x01\x00\x05hello", "close", TransportFailure.PROTOCOL),
    ],
)
async def test_a_broken_answer_is_a_failure_after_sending(
    answer: bytes, then: str, expected: TransportFailure
) -> None:
    """The outcome is unknown: never 'not sent'."""
    assert await ask(answering(answer, then=then)) is expected


@pytest.mark.parametrize("then", ["close", "reset"])
async def test_a_body_that_breaks_off_keeps_its_status(then: str) -> None:
    """The head was whole."""
    outcome = await ask(
        answering(b'HTTP/1.1 404 Not Found\r\nContent-Length: 500\r\n\r\n{"error"', then=then)
    )
    assert isinstance(outcome, Exchange)
    assert (outcome.status, outcome.body) == (404, None)


async def test_a_server_that_drips_is_given_up_in_time() -> None:
    """Slow-loris in the head, and in the body."""

    def dripping(answer: bytes) -> Serving:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            for byte in answer:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.01)

        return serve

    assert await ask(dripping(OK * 50), timeout_s=0.15) is TransportFailure.READ_TIMEOUT
    slow_body = b"HTTP/1.1 503 X\r\nContent-Length: 5000\r\n\r\n" + b" " * 5000
    outcome = await ask(dripping(slow_body), timeout_s=1.0)
    assert isinstance(outcome, Exchange)
    assert (outcome.status, outcome.body) == (503, None)


async def test_an_endless_body_is_not_read() -> None:
    """Its connection is closed, the next request gets a new one."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await read_request(reader)
        writer.write(b"HTTP/1.1 500 X\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b" " * 10_000)
            await writer.drain()

    async with serving(serve) as port, opened() as transport:
        for _ in range(2):
            outcome = await exchange(transport, patch(port), timeout_s=2.0)
            assert isinstance(outcome, Exchange)
            assert outcome.body is None
    assert connections == 2
    assert MAX_BODY_BYTES == 64 * 1024


async def test_nobody_listening_is_not_sent() -> None:
    """Connection refused."""
    async with serving(answering(OK)) as port:
        pass
    async with opened() as transport:
        assert await exchange(transport, patch(port), timeout_s=2.0) is TransportFailure.CONNECT
        unknown = PlainRequest("GET", "http://no-such-host.invalid/", CIMultiDict())
        assert await exchange(transport, unknown, timeout_s=2.0) is TransportFailure.CONNECT


async def test_a_pool_without_a_free_connection_is_not_sent() -> None:
    """Half of the time limit is for getting a connection; after that nothing was sent."""
    held = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await held.wait()

    async with serving(hold) as port, opened(connections=0) as transport:  # 0 + the spare ones
        busy = [
            asyncio.create_task(exchange(transport, patch(port), timeout_s=5.0)) for _ in range(4)
        ]
        await asyncio.sleep(0.05)
        assert (
            await exchange(transport, patch(port), timeout_s=2.0) is TransportFailure.POOL_TIMEOUT
        )
        for task in busy:
            task.cancel()
        held.set()


async def test_a_connection_that_the_server_closed_while_idle_is_not_used_again() -> None:
    """Closing right after an answer costs the next request nothing."""
    async with serving(answering(OK, then="close")) as port, opened() as transport:
        for _ in range(3):
            outcome = await exchange(transport, patch(port), timeout_s=2.0)
            assert isinstance(outcome, Exchange)
            await asyncio.sleep(0.02)


async def test_bytes_that_nobody_asked_for_spoil_an_idle_connection() -> None:
    """They would be read as the next request's answer; that one gets a new connection instead."""
    connections: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while True:
            await read_request(reader)
            writer.write(OK)

    async with serving(serve) as port, opened() as transport:
        assert isinstance(await exchange(transport, patch(port), timeout_s=2.0), Exchange)
        connections[0].write(b"HTTP/1.1 204 Stray\r\n\r\n")
        await asyncio.sleep(0.05)
        assert isinstance(await exchange(transport, patch(port), timeout_s=2.0), Exchange)
    assert len(connections) == 2


async def test_an_idle_connection_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """We close before a front end does: when taken again, and when others are given back."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await read_request(reader)
            await asyncio.sleep(0.01)
            writer.write(OK)

    async with serving(serve) as port, opened() as transport:
        await asyncio.gather(*(exchange(transport, patch(port), timeout_s=2.0) for _ in range(2)))
        assert connections == 2
        monkeypatch.setattr("hlf_sync.dynamics.http.transport._KEEP_ALIVE_S", 0.0)
        await exchange(transport, patch(port), timeout_s=2.0)
        assert connections == 3
        assert len(transport._origins[f"http://127.0.0.1:{port}"].idle) == 1


async def test_a_server_that_sends_faster_than_is_read_is_held_back() -> None:
    """What waits to be read stays bounded; read on, everything comes."""
    size = 50_000_000

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 100_000):
            writer.write(b" " * 100_000)
            await writer.drain()

    async with serving(serve) as port, opened() as transport:
        response = await transport.handle_async_request(patch(port))
        (connection,) = transport._open
        await asyncio.sleep(0.1)
        assert connection._reader is not None
        assert connection._reader.waiting_bytes < 2_000_000
        read = 0
        async for part in response.stream:  # type: ignore[union-attr] # ours is for asyncio
            read += len(part)
        assert read == size
        await response.aclose()
        await response.aclose()
        assert connection.is_usable
        assert await connection.read() == b""


@pytest.mark.parametrize(
    ("method", "address", "fields", "expected"),
    [
        ("PATCH", "http://127.0.0.1:1", {}, TransportFailure.NOT_SENT),
        ("PATCH", "ftps://127.0.0.1:1/", {}, TransportFailure.NOT_SENT),
        ("PATCH", "https:///x", {}, TransportFailure.NOT_SENT),
        ("PATCH", "http://127.0.0.1:1/a b", {}, TransportFailure.NOT_SENT),
        ("PATCH", "http://127.0.0.1:1/a\r\nX: y", {}, TransportFailure.NOT_SENT),
        ("PATCH /x", "http://127.0.0.1:1/", {}, TransportFailure.NOT_SENT),
        ("PATCH", "http://127.0.0.1:1/", {"A": "x\r\nIf-None-Match: *"}, TransportFailure.NOT_SENT),
        ("PATCH", "http://127.0.0.1:1/", {"A": "x\ny"}, TransportFailure.NOT_SENT),
        ("PATCH", "http://127.0.0.1:1/", {"A": "x\ry"}, TransportFailure.NOT_SENT),
        ("PATCH", "http://127.0.0.1:1/", {"A": "\u20ac"}, TransportFailure.NOT_SENT),
        ("PATCH", "http://" + "a" * 70 + ".example/", {}, TransportFailure.CONNECT),
    ],
)
async def test_nothing_can_be_slipped_into_a_request(
    method: str, address: str, fields: dict[str, str], expected: TransportFailure
) -> None:
    """A line break in a header, a blank in an address, another scheme: refused before anything is
    sent.
    """
    async with opened() as transport:
        assert (
            await exchange(
                transport, PlainRequest(method, address, CIMultiDict(fields)), timeout_s=2.0
            )
            is expected
        )


async def test_a_connection_that_takes_too_long_is_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name lookup that hangs."""

    async def hang(*_arguments: object, **_options: object) -> None:
        await asyncio.Event().wait()

    async with opened() as transport:
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", hang)
        transport._connect_timeout_s = 0.01
        assert (
            await exchange(transport, patch(1), timeout_s=2.0) is TransportFailure.CONNECT_TIMEOUT
        )


async def test_an_attempt_that_is_given_up_costs_no_slot() -> None:
    """Ten time-outs with five connections, and the next request goes through."""
    is_silent = True

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        if is_silent:
            await reader.read()
        writer.write(OK)
        await writer.drain()

    async with serving(serve) as port, opened(connections=1) as transport:
        for _ in range(10):
            assert await exchange(transport, patch(port), timeout_s=0.01) in {
                TransportFailure.READ_TIMEOUT,
                TransportFailure.CONNECT_TIMEOUT,
            }
        is_silent = False
        assert isinstance(await exchange(transport, patch(port), timeout_s=2.0), Exchange)


async def test_an_answer_that_comes_after_its_request_was_given_up_is_nobodys() -> None:
    """Kept for the next request, the connection would give it the answer of this one."""
    is_given_up = asyncio.Event()
    refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        if not is_given_up.is_set():
            await is_given_up.wait()
            await read_request(reader)
            writer.write(OK)
        writer.write(refusal)
        await writer.drain()

    async with serving(serve) as port, opened() as transport:
        first = await exchange(transport, patch(port), timeout_s=0.1)
        is_given_up.set()
        second = await exchange(transport, patch(port), timeout_s=2.0)
    assert first is TransportFailure.READ_TIMEOUT
    assert isinstance(second, Exchange)
    assert second.status == 400


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with a CA and a leaf for 127.0.0.1."""
    directory = tmp_path_factory.mktemp("tls")
    server_context(directory, "127.0.0.1", datetime.now(UTC))  # noqa: TID251 - certificates are about the wall clock
    return directory


def leaf(directory: Path) -> ssl.SSLContext:
    """The server's side."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "dynamics-leaf.pem", directory / "dynamics-leaf.key")
    return context


@pytest.mark.requirement("R81")
async def test_a_certificate_of_the_given_ca_is_trusted_and_no_other(authority: Path) -> None:
    """With the CA file it works; without it, or under another name, the certificate is invalid and
    nothing is sent.
    """
    async with serving(answering(OK), leaf(authority)) as port:
        async with opened(ca_path(authority)) as transport:
            assert isinstance(
                await exchange(transport, patch(port, "https"), timeout_s=2.0), Exchange
            )
            other_name = PlainRequest("GET", f"https://127.0.0.2:{port}/", CIMultiDict())
        async with opened(None) as transport:
            assert (
                await exchange(transport, patch(port, "https"), timeout_s=2.0)
                is TransportFailure.TLS_INVALID
            )
        async with opened(ca_path(authority)) as transport:
            outcome = await exchange(transport, other_name, timeout_s=2.0)
            assert outcome in {TransportFailure.TLS_INVALID, TransportFailure.CONNECT}


@pytest.mark.requirement("R81")
async def test_tls_below_1_2_is_refused(authority: Path) -> None:
    """A server that offers 1.1 at most is not a partner."""
    context = leaf(authority)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(answering(OK), context) as port, opened(ca_path(authority)) as transport:
        outcome = await exchange(transport, patch(port, "https"), timeout_s=2.0)
    assert outcome in {
        TransportFailure.TLS_HANDSHAKE,
        TransportFailure.CONNECT,
    }  # an alert, or the connection closed while shaking hands
    assert trust(None).minimum_version is ssl.TLSVersion.TLSv1_2


async def test_a_server_that_speaks_no_tls_is_a_handshake_failure(authority: Path) -> None:
    """Plain HTTP on the port."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(OK)
        await writer.drain()

    async with serving(plain) as port, opened(ca_path(authority)) as transport:
        assert (
            await exchange(transport, patch(port, "https"), timeout_s=2.0)
            is TransportFailure.TLS_HANDSHAKE
        )


def test_session_keys_are_written_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SSLKEYLOGFILE is a way to read everything."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert trust(None).keylog_filename is None


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_is_none_is_a_settings_error(tmp_path: Path, content: str | None) -> None:
    """Naming the variable, at start."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match="HLF_SYNC_DYNAMICS_CA_FILE"):
        trust(path)


headers = st.lists(
    st.tuples(
        st.sampled_from(
            [b"Content-Length", b"Transfer-Encoding", b"Connection", b"Set-Cookie", b"X"]
        ),
        st.binary(max_size=20),
    )
)
status_lines = st.one_of(
    st.binary(max_size=30), st.integers(0, 1200).map(lambda status: b"HTTP/1.1 %d X" % status)
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Bytes that are more or less an HTTP answer."""
    lines = [draw(status_lines), *(name + b": " + value for name, value in draw(headers))]
    return b"\r\n".join(lines) + b"\r\n\r\n" + draw(st.binary(max_size=50))


@pytest.mark.requirement("R28")
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.one_of(answers(), st.binary(max_size=100)), min_size=1, max_size=3),
    st.sampled_from(["close", "reset"]),
)
def test_any_bytes_of_a_server_are_an_exchange_or_a_failure_after_sending(
    chunks: list[bytes], then: str
) -> None:
    """No exception, and never 'not sent' once a connection stood."""
    outcome = asyncio.run(ask(answering(b"".join(chunks), then=then)))
    proofs = {
        TransportFailure.CONNECT,
        TransportFailure.CONNECT_TIMEOUT,
        TransportFailure.POOL_TIMEOUT,
        TransportFailure.NOT_SENT,
    }
    assert isinstance(outcome, Exchange) or outcome not in proofs


async def test_a_request_reads_like_one_of_httpx() -> None:
    """Address, headers, body and stream, for whoever asks."""
    request = patch(8443, "https")
    expected = httpx.Request(
        "PATCH", request.address, headers=list(request.fields.items()), content=request.body
    )
    assert (request.url, request.content, await request.aread()) == (
        expected.url,
        expected.content,
        expected.content,
    )
    assert sorted(request.headers.raw) == sorted(expected.headers.raw)
    assert b"".join([chunk async for chunk in request.stream]) == request.body
    assert "content-length" not in PlainRequest("GET", "https://x.example/", CIMultiDict()).headers


@pytest.mark.requirement("R81")
async def test_a_ca_file_that_is_replaced_counts_for_the_next_connection(
    authority: Path, tmp_path: Path
) -> None:
    """A renewed private CA: no restart; while the file is broken the last good trust stays; the old
    authority is not trusted any more.
    """
    (renewed := tmp_path / "renewed").mkdir()
    server_context(renewed, "127.0.0.1", datetime.now(UTC))  # noqa: TID251 - as above
    (file := tmp_path / "ca.pem").write_bytes(ca_path(authority).read_bytes())
    async with (
        serving(answering(OK, then="close"), leaf(authority)) as old,
        serving(answering(OK, then="close"), leaf(renewed)) as new,
        opened(file) as transport,
    ):

        async def outcomes() -> list[bool]:
            asked = [
                await exchange(transport, patch(port, "https"), timeout_s=5.0)
                for port in (old, new)
            ]
            return [isinstance(outcome, Exchange) for outcome in asked]

        assert await outcomes() == [True, False]
        assert "127.0.0.1: " in (transport.certificate_trouble or "")
        file.write_text("-----BEGIN", encoding="ascii")
        assert await outcomes() == [True, False]
        file.write_bytes(ca_path(renewed).read_bytes())
        assert await outcomes() == [False, True]
        assert transport.certificate_trouble is None


async def test_a_file_that_changed_without_a_sign_counts_after_a_refusal(
    authority: Path, tmp_path: Path
) -> None:
    """Some file systems tell no better time: a certificate that was not trusted makes us look."""
    (renewed := tmp_path / "renewed").mkdir()
    server_context(renewed, "127.0.0.1", datetime.now(UTC))  # noqa: TID251 - as above
    content = ca_path(authority).read_bytes()
    other = ca_path(renewed).read_bytes()
    longest = max(len(content), len(other))
    (file := tmp_path / "ca.pem").write_bytes(content.ljust(longest, b"\n"))
    times = file.stat()
    async with serving(answering(OK), leaf(renewed)) as port, opened(file) as transport:
        with file.open("r+b") as opened_file:
            opened_file.write(other.ljust(longest, b"\n"))
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        asked = [await exchange(transport, patch(port, "https"), timeout_s=5.0) for _ in range(2)]
    assert asked[0] is TransportFailure.TLS_INVALID
    assert isinstance(asked[1], Exchange)


THROTTLED = b'{"error":{"code":"0x80072322","message":"x"}}'


def _deflated(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


@pytest.mark.requirement("R28")
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(THROTTLED)),
        ("GZIP", gzip.compress(THROTTLED)),
        ("deflate", zlib.compress(THROTTLED)),
        ("deflate", _deflated(THROTTLED)),
        (None, gzip.compress(THROTTLED)),
        (None, THROTTLED),
    ],
    ids=["gzip", "GZIP", "zlib", "raw", "unsaid", "plain"],
)
async def test_a_packed_refusal_is_judged_by_its_code(
    status: int, encoding: str | None, body: bytes
) -> None:
    """We ask for no compression, and front ends compress all the same, some without saying so: a
    throttled call is not a trouble of the server.
    """
    said = f"Content-Encoding: {encoding}\r\n" if encoding else ""
    head = f"HTTP/1.1 {status} x\r\nRetry-After: 7\r\n{said}Content-Length: {len(body)}\r\n\r\n"
    outcome = await ask(answering(head.encode() + body))
    assert isinstance(outcome, Exchange)
    verdict = judge(answer_of(outcome, 0.0, lambda _body: False))
    assert (verdict.course, verdict.error_code, verdict.retry_after_s) == (
        Course.THROTTLED,
        ErrorCode.RATE_LIMITED,
        7.0,
    )


@pytest.mark.parametrize(
    "body",
    [gzip.compress(b"x" * 10_000_000), b"\x1f\x8b\x08\x00\xff", b"\x1f"],
    ids=["bomb", "broken", "none"],
)
async def test_a_packed_refusal_that_cannot_be_read_leaves_the_status(body: bytes) -> None:
    """A bomb, a broken one, and what is not a compression at all."""
    head = f"HTTP/1.1 429 x\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    outcome = await ask(answering(head.encode() + body))
    assert isinstance(outcome, Exchange)
    assert judge(answer_of(outcome, 0.0, lambda _body: False)).course is Course.THROTTLED
