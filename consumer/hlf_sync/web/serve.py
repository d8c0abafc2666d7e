"""Runs the service: the socket, signals, uvicorn, the log. Called by `hlf-sync web`."""

import asyncio
import errno
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from hlf_sync.config.settings import Settings
from hlf_sync.errors import SettingsError
from hlf_sync.web.app import build
from hlf_sync.web.events import TRANSPORT

_log = structlog.get_logger()

_BACKLOG = 1_024
_GRACE_S = 5


class _Server(uvicorn.Server):
    """Without uvicorn's signals, which end the process by the signal once more."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ours are set in `run`."""
        yield


class _Protocol(H11Protocol):
    """Lets a stream drop its own connection."""

    def connection_made(self, transport: Any) -> None:
        """A caller has connected."""
        self.app_state = {**self.app_state, TRANSPORT: transport}
        super().connection_made(transport)


async def run(settings: Settings) -> None:
    """Serve until told to stop. Raises `SettingsError`."""
    app = build(settings)
    listening = _listen(settings.web_host, settings.web_port)
    await app.state.keys.start()
    server = _Server(configuration(app))

    def stop() -> None:
        app.state.board.close()
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    _log.info("web_listens", port=listening.getsockname()[1])
    await server.serve(sockets=[listening])
    _log.info("web_stopped")


def configuration(app: Starlette) -> uvicorn.Config:
    """uvicorn, with its own log off: it writes addresses, and those may hold what callers put
    there.
    """
    return uvicorn.Config(
        app,
        http=_Protocol,
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        timeout_keep_alive=65,
        timeout_graceful_shutdown=_GRACE_S,
        h11_max_incomplete_event_size=65_536,
    )


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"HLF_SYNC_WEB_PORT: cannot listen on {host} port {port} ({_reason(error)}); take"
            " another port, or 0 for a free one"
        ) from None


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "unknown host"
    if error.errno == errno.EADDRINUSE:
        return "in use already"
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
