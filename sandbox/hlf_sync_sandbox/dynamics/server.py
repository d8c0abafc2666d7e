"""Opens the ports and runs the emulator until it is told to stop.

Called by `__main__`. One TLS listener serves the organisation and the token service; a plain
loopback listener takes orders. `dynamics.json` appears when both answer and disappears at a clean
end. One process per state directory.
"""

import asyncio
import errno
import fcntl
import gc
import os
import secrets
import signal
from dataclasses import dataclass
from pathlib import Path

import orjson
import uvloop

from hlf_sync_sandbox.dynamics import tls
from hlf_sync_sandbox.dynamics.clock import utc_now
from hlf_sync_sandbox.dynamics.connection import Connection
from hlf_sync_sandbox.dynamics.emulator import Emulator, open_emulator
from hlf_sync_sandbox.dynamics.identity import write_private
from hlf_sync_sandbox.dynamics.outage import Outage
from hlf_sync_sandbox.dynamics.service import Service
from hlf_sync_sandbox.dynamics.steering import Levers, Steering
from hlf_sync_sandbox.dynamics.throttle import Limits

_IDLE_S = 240.0
"""The front end of Azure closes an idle connection after four minutes."""
_SWEEP_S = 15.0


class StartError(Exception):
    """The emulator cannot start here; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Start:
    """How to start."""

    directory: Path
    host: str
    port: int
    journal_file: bool
    journal_size: int
    limits: Limits


def run(start: Start) -> None:
    """Serve until SIGTERM or SIGINT."""
    start.directory.mkdir(parents=True, exist_ok=True)
    lock = _lock(start.directory)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(start))
    finally:
        os.close(lock)


def _lock(directory: Path) -> int:
    """Take the directory for this process: the kernel lets go of it however the process ends."""
    descriptor = os.open(directory / "dynamics.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as taken:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        msg = (
            f"a Dynamics emulator already runs on {directory} (pid {holder}): stop it, or give"
            " another --state"
        )
        raise StartError(msg) from taken
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


async def _serve(start: Start) -> None:
    emulator = open_emulator(
        start.directory,
        journal_file=start.journal_file,
        journal_size=start.journal_size,
        limits=start.limits,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    house = House(start, emulator)
    try:
        await house.open()
        gc.collect()
        gc.freeze()
        gc.set_threshold(
            50_000, 20, 50
        )  # the journal's ring is young garbage to the default thresholds
        await stop.wait()
    finally:
        await house.close()
        emulator.close()


class House:
    """The two listeners, their connections, and the outage clock."""

    def __init__(self, start: Start, emulator: Emulator) -> None:
        """Nothing is opened yet."""
        self._start = start
        self._emulator = emulator
        self._service = Service(emulator)
        self._control_token = secrets.token_urlsafe(24)
        levers = Levers(self.set_outage, self._publish)
        self._steering = Steering(emulator, self._service, levers, self._control_token)
        self._context = tls.server_context(start.directory, start.host, utc_now())
        self._opened: set[Connection] = set()
        self._orders: set[Connection] = set()
        self._api: asyncio.Server | None = None
        self._control: asyncio.Server | None = None
        self._outage_end: asyncio.TimerHandle | None = None
        self._door = asyncio.Lock()
        self._background: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Open both ports and tell where they are."""
        identity, start = self._emulator.identity, self._start
        _settings_path(start.directory).unlink(missing_ok=True)  # left by a killed process
        await self._listen(start.port or identity.port)
        self._control = await self._open_control(identity.control_port)
        identity.port = _port_of(self._api)
        identity.control_port = _port_of(self._control)
        self._emulator.save_identity()
        self._emulator.set_addresses(start.host, identity.port)
        self._publish()
        self._in_background(self._sweep())

    async def close(self) -> None:
        """Close everything; what is in flight is cut, as by any server that stops."""
        _settings_path(self._start.directory).unlink(missing_ok=True)
        for task in list(self._background):
            task.cancel()
        await self._service.stop()
        for server in (self._api, self._control):
            if server is not None:
                server.close()
        for connection in [*self._opened, *self._orders]:
            connection.abort()

    def set_outage(self, outage: Outage | None) -> None:
        """Begin an outage, change it, or end it."""
        if self._outage_end is not None:
            self._outage_end.cancel()
            self._outage_end = None
        self._emulator.outage = outage
        if outage is not None and outage.seconds is not None:
            loop = asyncio.get_running_loop()
            self._outage_end = loop.call_later(outage.seconds, self.set_outage, None)
        self._in_background(self._set_door())

    async def _set_door(self) -> None:
        """Open or close the port as the outage wants it."""
        async with self._door:
            outage = self._emulator.outage
            refuses = outage is not None and outage.mode == "refuse"
            if refuses and self._api is not None:
                self._api.close()
                self._api = None
                for connection in list(self._opened):
                    connection.reset()
            elif not refuses and self._api is None:
                await self._listen(self._emulator.identity.port)

    async def _listen(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._api = await loop.create_server(
                lambda: Connection(self._service.serve, self._opened),
                self._start.host,
                port,
                ssl=self._context,
                backlog=1024,
                ssl_handshake_timeout=30,
            )
        except OSError as error:
            raise StartError(_port_text(self._start.host, port, error)) from error

    async def _open_control(self, port: int) -> asyncio.Server:
        """Open the control port: the one it had if it is free, else any, because nobody has it by
        heart.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.create_server(
                lambda: Connection(self._steering.serve, self._orders), "127.0.0.1", port
            )
        except OSError:
            return await loop.create_server(
                lambda: Connection(self._steering.serve, self._orders), "127.0.0.1", 0
            )

    def _publish(self) -> None:
        """Write dynamics.json in one step."""
        identity, start = self._emulator.identity, self._start
        host = "127.0.0.1" if start.host in {"0.0.0.0", ""} else start.host  # noqa: S104 - compared, not bound
        base = f"https://{f'[{host}]' if ':' in host else host}:{identity.port}"
        content = {
            "base_url": base,
            "authority": base,
            "tenant_id": identity.tenant_id,
            "client_id": identity.main.client_id,
            "client_secret": identity.main.secrets[0],
            "ca_file": str(tls.ca_path(start.directory).resolve()),
            "control_url": f"http://127.0.0.1:{identity.control_port}",
            "control_token": self._control_token,
            "identity_endpoint": f"http://127.0.0.1:{identity.control_port}/msi/token",
            "identity_header": identity.identity_header,
            "journal_file": (
                str((start.directory / "journal.jsonl").resolve()) if start.journal_file else None
            ),
            "port": identity.port,
            "pid": os.getpid(),
        }
        write_private(
            _settings_path(start.directory), orjson.dumps(content, option=orjson.OPT_INDENT_2)
        )

    async def _sweep(self) -> None:
        """Close connections that have long been idle, as the front end does."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            now_s = asyncio.get_running_loop().time()
            for connection in [*self._opened, *self._orders]:
                if connection.is_idle and now_s - connection.last_used_s > _IDLE_S:
                    connection.close()

    def _in_background(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _settings_path(directory: Path) -> Path:
    return directory / "dynamics.json"


def _port_of(server: asyncio.Server | None) -> int:
    if server is None:
        raise StartError("a port closed while it was being opened")
    port: int = server.sockets[0].getsockname()[1]
    return port


def _port_text(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE or "in use" in str(error):
        return (
            f"port {port} of {host} is taken by another program: free it, or start with another"
            " --port"
        )
    return f"cannot listen on {host}:{port}: {error.strerror or error}"
