"""The worker's HTTP endpoint: /metrics /livez /readyz /status, and / for people. Loopback by
default, read only, no authentication, nothing personal in it.

The same server as the coordinators' service has (uvicorn, Starlette): a second one would cost each
worker 8 MiB and its start a sixth of a second (docs/adr/0076-lean-worker.md).
"""

import errno
import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.watch.scrape import Scrape
from hlf_sync.watch.status import Status

_log = structlog.get_logger()

_BACKLOG = 128
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
# Nothing of the page may be run or fetched, whatever stands in it.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
# So many workers on one machine find a port by themselves.
_PORTS_TRIED = 20
_LAST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Endpoint:
    """It listens until `cleanup`."""

    server: uvicorn.Server
    listening: socket.socket

    @property
    def addresses(self) -> list[Any]:
        """Where it listens: host, port."""
        return [self.listening.getsockname()]

    async def cleanup(self) -> None:
        """Take no more requests, and end those under way."""
        self.server.force_exit = True
        await self.server.shutdown(sockets=[self.listening])


async def serve(
    status: Status,
    scrape: Scrape,
    host: str,
    port: int,
    people: Callable[[], Awaitable[str]] | None = None,
    *,
    may_move: bool = False,
) -> Endpoint:
    """Start the endpoint; raises `SettingsError` when it cannot listen there. `people` makes the
    page for people at `/`. `may_move`: nobody asked for this very port, so where it is taken (by a
    worker that was started before) the next free one serves.
    """

    async def metrics(_request: Request) -> Response:
        return Response(scrape.page(), headers={"Content-Type": _METRICS})

    async def livez(_request: Request) -> Response:
        return (
            PlainTextResponse("ok\n")
            if status.is_alive()
            else PlainTextResponse("the consumer thread is stuck\n", 503)
        )

    async def readyz(_request: Request) -> Response:
        missing = status.missing()
        return (
            PlainTextResponse("\n".join(missing) + "\n", 503)
            if missing
            else PlainTextResponse("ok\n")
        )

    async def show(_request: Request) -> Response:
        return Response(json.dumps(status.snapshot()), media_type="application/json")

    async def pending(_request: Request) -> Response:
        assert people is not None  # noqa: S101 - routed only then
        try:
            return HTMLResponse(await people(), headers=_HEADERS)
        except DependencyError as error:
            return PlainTextResponse(f"{error}\n", 503, headers=_HEADERS)

    answers = {"/metrics": metrics, "/livez": livez, "/readyz": readyz, "/status": show}
    if people is not None:
        answers["/"] = pending
    application = Starlette(routes=[Route(path, answer) for path, answer in answers.items()])
    listening = _listen(host, port, may_move=may_move)
    server = uvicorn.Server(_configuration(application))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    # Neither `serve` nor `main_loop`: they would take the process's signals, and wake ten times a second.
    await server.startup(sockets=[listening])
    return Endpoint(server, listening)


def _configuration(application: Starlette) -> uvicorn.Config:
    """uvicorn, with its own log off: it writes addresses."""
    return uvicorn.Config(
        application,
        http="h11",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        lifespan="off",
        timeout_keep_alive=65,
        timeout_graceful_shutdown=1,
    )


def _listen(host: str, port: int, *, may_move: bool) -> socket.socket:
    last = min(port + _PORTS_TRIED, _LAST_PORT) if may_move and port else port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        for candidate in range(port, last):
            with suppress(_InUseError):
                return _listen_at(family, host, candidate, asked=port)
        return _listen_at(family, host, last, asked=port)
    except OSError as error:
        raise SettingsError(
            f"HLF_SYNC_HTTP_PORT: cannot listen on {host} port {port} ({_reason(error)}); take"
            " another port, or 0 for a free one"
        ) from None


def _listen_at(family: socket.AddressFamily, host: str, port: int, *, asked: int) -> socket.socket:
    try:
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise (_InUseError(*error.args) if error.errno == errno.EADDRINUSE else error) from None
    if port != asked:
        detail = f"port {asked} is taken (by another worker?): this one answers at {host}:{port}"
        _log.warning("port_taken", port=port, detail=detail)
    return listening


class _InUseError(OSError):
    """Somebody else listens there."""


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "unknown host"
    return (
        "in use already"
        if error.errno == errno.EADDRINUSE
        else errno.errorcode.get(error.errno or 0, type(error).__name__)
    )
