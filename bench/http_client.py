"""What a call costs by HTTP client: PATCHes over TLS with 64 in flight against one server process
on this machine, all clients in one run.

`python bench/http_client.py [--calls 20000] [--rounds 3]`. Rounds are interleaved, the median is
printed: requests per second, CPU microseconds of this process per request, and the CPU beside that
of our client. The server is a bare asyncio protocol, so that it is not what is measured. The last
line is the limit: a bare protocol that knows this server's answers; nothing a product could use.
"""

import argparse
import asyncio
import multiprocessing
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast
from uuid import uuid4

import aiohttp
import httpx
import httpx_aiohttp
import uvloop
from hlf_sync.core.model import ContactId, Operation
from hlf_sync.dynamics.auth.credentials import Grant, RenewingCredentials
from hlf_sync.dynamics.client import DynamicsClient
from hlf_sync.dynamics.contract import DynamicsContract
from hlf_sync.dynamics.http.exchange import Exchange, exchange
from hlf_sync.dynamics.http.plain import PlainRequest
from hlf_sync.dynamics.http.transport import open_transport
from hlf_sync.dynamics.http.trust import trust
from hlf_sync_sandbox.dynamics.tls import ca_path, server_context
from multidict import CIMultiDict
from pydantic import SecretStr

IN_FLIGHT = 64
MOST_CALLS_OF_SLOW_ONES = 2_000  # the shared httpx client manages some hundred calls per second
BODY = b'{"new_showonwebsite":false}'
TOKEN = "x" * 1200  # as long as Entra's
ANSWER = (
    b"HTTP/1.1 204 No Content\r\nOData-Version: 4.0\r\nx-ms-service-request-id:"
    b" ee87c96c-0000-4000-8000-000000000001\r\nREQ_ID:"
    b" ee87c96c-0000-4000-8000-000000000001\r\nx-ms-dop-hint:"
    b" 4\r\nx-ms-ratelimit-burst-remaining-xrm-requests:"
    b" 5999\r\nx-ms-ratelimit-time-remaining-xrm-requests: 1,200.00\r\nDate: Mon, 24 Nov 2025"
    b" 20:00:00 GMT\r\n\r\n"
)

Call = Callable[[int], Awaitable[int]]
"""One call of a slot: the status."""


class Answering(asyncio.Protocol):
    """Answers each whole request with 204."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where answers go (uvloop's is not an asyncio.Transport by class)."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer what is whole."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            place = head.find(b"content-length:")
            length = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
            if len(self._received) < end + 4 + length:
                return
            self._received = self._received[end + 4 + length :]
            assert self._transport is not None  # noqa: S101
            self._transport.write(ANSWER)


def serve(directory: Path, pipe: Connection) -> None:
    """The server's process."""

    async def run() -> None:
        context = server_context(directory, "127.0.0.1", datetime.now(UTC))  # noqa: TID251 - certificates are about the wall clock
        server = await asyncio.get_running_loop().create_server(
            Answering, "127.0.0.1", 0, ssl=context
        )
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


class Target:
    """Where and what to ask; a contact and a correlation id of its own for each call."""

    def __init__(self, directory: Path, port: int) -> None:
        self.ca_file = ca_path(directory)
        self.tls = trust(self.ca_file)
        self.base_url = f"https://127.0.0.1:{port}"
        self.port = port
        self._contacts = [
            ContactId(f"6f1a1f3c-0000-4000-8000-{number:012d}") for number in range(1000)
        ]
        self._next = 0

    def contact(self) -> ContactId:
        """The next contact."""
        self._next += 1
        return self._contacts[self._next % 1000]

    def address(self) -> str:
        """The next contact's address."""
        return f"{self.base_url}/api/data/v9.2/contacts({self.contact()})"

    def headers(self) -> dict[str, str]:
        """The headers of one attempt."""
        correlation_id = str(uuid4())
        return {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "OData-MaxVersion": "4.0",
            "OData-Version": "4.0",
            "User-Agent": "hlf-sync/0",
            "Content-Type": "application/json",
            "If-Match": "*",
            "Authorization": f"Bearer {TOKEN}",
            "x-correlation-id": correlation_id,
            "x-ms-client-request-id": correlation_id,
        }


class FixedSource:
    """One token for ever."""

    async def fetch(self) -> Grant:
        """The token."""
        return Grant(SecretStr(TOKEN), 86_400.0)

    def has_changed(self) -> bool:
        """Never."""
        return False


@asynccontextmanager
async def our_client(target: Target) -> AsyncIterator[Call]:
    """What the worker calls: token, headers, transport, verdict."""
    transport = open_transport(
        ca_file=target.ca_file, connections=IN_FLIGHT, request_timeout_s=10.0
    )
    client = DynamicsClient(
        DynamicsContract(target.base_url), RenewingCredentials(FixedSource()), transport
    )

    async def call(_slot: int) -> int:
        return (await client.call(target.contact(), Operation.REMOVE)).http_status or 0

    yield call
    await client.aclose()


@asynccontextmanager
async def our_transport(target: Target) -> AsyncIterator[Call]:
    """The transport and the exchange without the client."""
    transport = open_transport(
        ca_file=target.ca_file, connections=IN_FLIGHT, request_timeout_s=10.0
    )

    async def call(_slot: int) -> int:
        outcome = await exchange(
            transport,
            PlainRequest("PATCH", target.address(), CIMultiDict(target.headers()), BODY),
            timeout_s=10.0,
        )
        return outcome.status if isinstance(outcome, Exchange) else 0

    yield call
    await transport.aclose()


def session(target: Target) -> aiohttp.ClientSession:
    """A session of aiohttp."""
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT, ssl=target.tls)
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    )


@asynccontextmanager
async def bare_aiohttp(target: Target) -> AsyncIterator[Call]:
    """aiohttp as everybody uses it."""
    async with session(target) as client:

        async def call(_slot: int) -> int:
            async with client.patch(
                target.address(), data=BODY, headers=target.headers(), allow_redirects=False
            ) as answer:
                await answer.read()
                return answer.status

        yield call


@asynccontextmanager
async def httpx_aiohttp_transport(target: Target) -> AsyncIterator[Call]:
    """httpx-aiohttp's transport, called directly."""
    async with session(target) as client:
        transport = httpx_aiohttp.AiohttpTransport(client=client)

        async def call(_slot: int) -> int:
            request = httpx.Request(
                "PATCH", target.address(), content=BODY, headers=target.headers()
            )
            answer = await transport.handle_async_request(request)
            await answer.aread()
            return answer.status_code

        yield call


@asynccontextmanager
async def httpx_aiohttp_client(target: Target) -> AsyncIterator[Call]:
    """httpx's client over httpx-aiohttp."""
    async with (
        session(target) as connections,
        httpx.AsyncClient(transport=httpx_aiohttp.AiohttpTransport(client=connections)) as client,
    ):

        async def call(_slot: int) -> int:
            return (
                await client.patch(target.address(), content=BODY, headers=target.headers())
            ).status_code

        yield call


@asynccontextmanager
async def httpx_per_slot(target: Target) -> AsyncIterator[Call]:
    """An httpx client for each call in flight."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(verify=target.tls, trust_env=False))
            for _ in range(IN_FLIGHT)
        ]

        async def call(slot: int) -> int:
            return (
                await clients[slot].patch(target.address(), content=BODY, headers=target.headers())
            ).status_code

        yield call


@asynccontextmanager
async def httpx_shared(target: Target) -> AsyncIterator[Call]:
    """One httpx client for all: the trap."""
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
    async with httpx.AsyncClient(
        verify=target.tls, trust_env=False, limits=limits, timeout=60.0
    ) as client:

        async def call(_slot: int) -> int:
            return (
                await client.patch(target.address(), content=BODY, headers=target.headers())
            ).status_code

        yield call


class Bare(asyncio.Protocol):
    """Sends, and waits for the end of a head."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[int] | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where requests go."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """The status of what ends like a head."""
        assert self.answer is not None  # noqa: S101
        if data.endswith(b"\r\n\r\n"):
            self.answer.set_result(int(data[9:12]))


@asynccontextmanager
async def bare_protocol(target: Target) -> AsyncIterator[Call]:
    """The limit of asyncio and TLS."""
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(Bare, "127.0.0.1", target.port, ssl=target.tls)
        for _ in range(IN_FLIGHT)
    ]

    async def call(slot: int) -> int:
        protocol = made[slot][1]
        protocol.answer = loop.create_future()
        fields = "".join(f"{name}: {value}\r\n" for name, value in target.headers().items())
        head = (
            f"PATCH {target.address().removeprefix(target.base_url)} HTTP/1.1\r\nHost:"
            f" x\r\n{fields}Content-Length: {len(BODY)}\r\n\r\n"
        )
        assert protocol.transport is not None  # noqa: S101
        protocol.transport.write(head.encode() + BODY)
        return await protocol.answer

    yield call
    for transport, _ in made:
        transport.close()


CLIENTS = {
    "our client (what the worker calls)": our_client,
    "our transport alone": our_transport,
    "aiohttp": bare_aiohttp,
    "httpx-aiohttp, transport": httpx_aiohttp_transport,
    "httpx-aiohttp, AsyncClient": httpx_aiohttp_client,
    "httpx, a client per slot": httpx_per_slot,
    "httpx, one shared client": httpx_shared,
    "limit: bare asyncio protocol": bare_protocol,
}


async def measure(name: str, target: Target, calls: int) -> tuple[float, float]:
    """Calls per second, and CPU microseconds per call."""
    count = min(calls, MOST_CALLS_OF_SLOW_ONES) if name.startswith("httpx, ") else calls
    async with CLIENTS[name](target) as call:
        await asyncio.gather(
            *(call(slot) for slot in range(IN_FLIGHT))
        )  # connections stand, code is warm
        numbers = iter(range(count))

        async def work(slot: int) -> None:
            for _ in numbers:
                assert await call(slot) == 204  # noqa: S101, PLR2004

        started_s, cpu_s = time.perf_counter(), time.process_time()
        await asyncio.gather(*(work(slot) for slot in range(IN_FLIGHT)))
        return (
            count / (time.perf_counter() - started_s),
            (time.process_time() - cpu_s) / count * 1e6,
        )


def run(calls: int, rounds: int) -> dict[str, tuple[float, float]]:
    """The medians by client."""
    spawn = multiprocessing.get_context("spawn")
    with TemporaryDirectory() as directory:
        ours, theirs = spawn.Pipe()
        server = spawn.Process(target=serve, args=(Path(directory), theirs), daemon=True)
        server.start()
        try:
            target = Target(Path(directory), ours.recv())
            results = [
                {name: uvloop.run(measure(name, target, calls)) for name in CLIENTS}
                for _ in range(rounds)
            ]
        finally:
            server.terminate()
            server.join()
    return {
        name: tuple(
            statistics.median(values)
            for values in zip(*(round_[name] for round_ in results), strict=True)
        )
        for name in CLIENTS
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    results = run(arguments.calls, arguments.rounds)
    own_cpu_us = results["our client (what the worker calls)"][1]
    print(f"{'client, TLS, 64 in flight':38}{'requests/s':>12}{'CPU us':>9}{'ours is':>9}")
    for name, (rate, cpu_us) in results.items():
        print(f"{name:38}{rate:12,.0f}{cpu_us:9.0f}{own_cpu_us / cpu_us:8.2f}x")


if __name__ == "__main__":
    main()
