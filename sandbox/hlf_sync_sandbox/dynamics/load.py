"""`python -m hlf_sync_sandbox.dynamics.load --state DIR`: how many PATCH per second the emulator
answers on this machine.

A bare keep-alive client over TLS, one request in flight per connection; its figure is the
emulator's ceiling, not what the real client reaches. Limits are switched off for the run and set
back. Prints requests per second and the emulator's CPU.
"""

import asyncio
import json
import os
import ssl
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode, urlsplit

import typer
import uvloop

from hlf_sync_sandbox.dynamics.control import DynamicsControl

_CONTACTS = 1000


@dataclass
class Tally:
    """What came back, by status."""

    statuses: dict[str, int] = field(default_factory=dict)


class Caller(asyncio.Protocol):
    """Sends the next request as soon as the answer of the last one is there."""

    def __init__(self, requests: list[bytes], tally: Tally) -> None:
        """Keep what to send in turn."""
        self._requests = requests
        self._next = 0
        self._tally = tally
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first one."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Count an answer, send the next request."""
        self._buffer += data
        if self._buffer.endswith(b"\r\n\r\n"):
            status = self._buffer[9:12].decode()
            self._tally.statuses[status] = self._tally.statuses.get(status, 0) + 1
            self._buffer = b""
            self._send()

    def _send(self) -> None:
        if self._transport is not None:
            self._transport.write(self._requests[self._next % len(self._requests)])
            self._next += 1


def main(
    *,
    state: Annotated[Path, typer.Option(help="State directory of a running emulator.")],
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to measure.")] = 5.0,
    connections: Annotated[int, typer.Option(min=1, help="Keep-alive connections.")] = 64,
) -> None:
    """Measure PATCH per second of a running emulator."""
    with DynamicsControl(state) as control:
        control.unlimited()
        ids = [str(uuid.uuid4()) for _ in range(_CONTACTS)]
        control.put_contacts(dict.fromkeys(ids, True))
        pid = control.settings["pid"]
        before_s = _cpu_s(pid)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            tally, took_s = runner.run(_measure(control, ids, seconds, connections))
        cpu_s = _cpu_s(pid) - before_s
        control.delete_contacts(ids)
    count = sum(tally.statuses.values())
    typer.echo(
        f"{count / took_s:,.0f} PATCH/s over TLS, {connections} connections, {took_s:.1f} s;"
        f" emulator {cpu_s / count * 1e6:.0f} µs CPU each, {cpu_s / took_s:.0%} of a core; statuses"
        f" {tally.statuses}"
    )


async def _measure(
    control: DynamicsControl, ids: list[str], seconds: float, connections: int
) -> tuple[Tally, float]:
    settings = control.settings
    url = urlsplit(settings["base_url"])
    context = ssl.create_default_context(cafile=settings["ca_file"])
    token = await _token(settings, context)
    tally = Tally()
    share = len(ids) // connections or 1
    loop = asyncio.get_running_loop()
    opened = []
    started_s = time.monotonic()
    for number in range(connections):
        mine = [ids[(number * share + index) % len(ids)] for index in range(share)]
        requests = [_request(url.netloc, token, contact_id) for contact_id in mine]
        transport, _ = await loop.create_connection(
            lambda requests=requests: Caller(requests, tally),  # type: ignore[misc]  # a default binds the loop variable
            url.hostname,
            url.port,
            ssl=context,
        )
        opened.append(transport)
    tally.statuses.clear()
    started_s = time.monotonic()
    await asyncio.sleep(seconds)
    took_s = time.monotonic() - started_s
    done = Tally(dict(tally.statuses))
    for transport in opened:
        transport.abort()
    return done, took_s


async def _token(settings: dict[str, str], context: ssl.SSLContext) -> str:
    url = urlsplit(settings["authority"])
    form = urlencode(
        {
            "grant_type": "client_credentials",
            "client_id": settings["client_id"],
            "client_secret": settings["client_secret"],
            "scope": f"{settings['base_url']}/.default",
        }
    )
    reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context)
    head = (
        f"POST /{settings['tenant_id']}/oauth2/v2.0/token HTTP/1.1\r\nHost:"
        f" {url.netloc}\r\nConnection: close\r\nContent-Type:"
        f" application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n"
    )
    writer.write((head + form).encode())
    answer = await reader.read()
    writer.close()
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["access_token"])


def _request(host: str, token: str, contact_id: str) -> bytes:
    body = b'{"new_showonwebsite":false}'
    request_id = uuid.uuid4()
    head = (
        f"PATCH /api/data/v9.2/contacts({contact_id}) HTTP/1.1\r\nHost: {host}\r\nAuthorization:"
        f" Bearer {token}\r\nAccept: application/json\r\nContent-Type:"
        " application/json\r\nOData-MaxVersion: 4.0\r\nOData-Version: 4.0\r\nIf-Match:"
        f" *\r\nx-ms-client-request-id: {request_id}\r\nx-correlation-id:"
        f" {request_id}\r\nUser-Agent: hlf-sync\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    typer.run(main)
