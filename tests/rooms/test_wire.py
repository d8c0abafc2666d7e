"""A capture of the bytes themselves: what leaves this process for Dynamics and for the token
endpoint, request by request (R22, R24, R45).
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs
from uuid import UUID

import pytest
from hlf_sync import clients
from hlf_sync.clock import epoch_ms
from hlf_sync.config.settings import Settings
from hlf_sync.core.model import ContactId, Operation
from hlf_sync.core.verdict import Course
from hlf_sync.dynamics.client import DynamicsClient
from hlf_sync_sandbox.dynamics.tls import ca_path, server_context

TENANT, APP, SECRET = (
    "7c0ffee0-0000-4000-8000-000000000000",
    "c1c1c1c1-0000-4000-8000-000000000000",
    "s3cr3t",
)
CONTACT = ContactId("6f1a1f3c-0000-4000-8000-000000000001")
TOKEN = '{"token_type":"Bearer","expires_in":3599,"access_token":"t0k3n"}'


@dataclass
class Tap:
    """A TLS server that keeps every byte and answers like the service. `statuses` are given to the
    next PATCHes, then 204.
    """

    requests: list[bytes] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                request = head + (await reader.readexactly(int(length[1])) if length else b"")
                self.requests.append(request)
                writer.write(self._answer(request))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, request: bytes) -> bytes:
        target = request.split(b" ", 2)[1].decode()
        base = f"https://127.0.0.1:{self.port}/{TENANT}"
        if target.endswith("openid-configuration"):
            body = f'{{"issuer":"{base}/v2.0","authorization_endpoint":"{base}/a","token_endpoint":"{base}/oauth2/v2.0/token"}}'
        elif target.endswith("/token"):
            body = TOKEN
        elif target.endswith("WhoAmI"):
            body = '{"UserId":"u"}'
        elif "$select" in target:
            body = '{"new_showonwebsite":true}'
        else:
            status = self.statuses.pop(0) if self.statuses else 204
            cookie = "Set-Cookie: ARRAffinity=abc; secure\r\nSet-Cookie: ReqClientId=def\r\n"
            return (
                f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{cookie}\r\n".encode()
                if status != 204
                else f"HTTP/1.1 204 X\r\n{cookie}\r\n".encode()
            )
        return (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:"
            f" {len(body)}\r\n\r\n{body}".encode()
        )


@pytest.fixture
async def tap(tmp_path: Path) -> AsyncIterator[Tap]:
    """A listening one."""
    tap = Tap()
    tls = server_context(tmp_path, "127.0.0.1", datetime.fromtimestamp(epoch_ms() / 1000, UTC))
    assert tls.minimum_version >= ssl.TLSVersion.TLSv1_2
    server = await asyncio.start_server(tap.serve, "127.0.0.1", 0, ssl=tls)
    tap.port = server.sockets[0].getsockname()[1]
    yield tap
    server.close()


@pytest.fixture
async def client(tap: Tap, tmp_path: Path) -> AsyncIterator[DynamicsClient]:
    """As the settings make it."""
    address = f"https://127.0.0.1:{tap.port}"
    settings = Settings.model_validate(
        {
            "dynamics_base_url": address, "dynamics_authority": address, "dynamics_tenant_id": TENANT, "dynamics_client_id": APP,
            "dynamics_client_secret": SECRET, "dynamics_ca_file": ca_path(tmp_path), "request_timeout_s": 5,
        }
    )  # fmt: skip
    transport = clients.open_dynamics_transport(settings, 4)
    client = clients.dynamics_client(
        settings, clients.dynamics_credentials(settings, None, transport), transport
    )
    yield client
    await client.aclose()


def parsed(request: bytes) -> tuple[str, dict[str, str], bytes]:
    """Request line, header fields in lower case, body."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    fields = [line.split(": ", 1) for line in lines]
    names = [name.lower() for name, _ in fields]
    assert len(set(names)) == len(names), "no header twice"
    return first, {name.lower(): value for name, value in fields}, body


@pytest.mark.requirement("R22")
@pytest.mark.requirement("R24")
@pytest.mark.requirement("R45")
async def test_a_write_is_these_bytes_and_no_others(tap: Tap, client: DynamicsClient) -> None:
    """Also after answers that set cookies, and after a 401 with its one renewal."""
    tap.statuses = [204, 503, 401, 204]
    for operation in (Operation.REMOVE, Operation.RESTORE, Operation.REMOVE):
        await client.call(CONTACT, operation)
    writes = [parsed(request) for request in tap.requests if request.startswith(b"PATCH")]
    assert [body for _, _, body in writes] == [
        b'{"new_showonwebsite":false}',
        b'{"new_showonwebsite":true}',
        *[b'{"new_showonwebsite":false}'] * 2,
    ]
    ids = []
    for first, fields, body in writes:
        assert first == f"PATCH /api/data/v9.2/contacts({CONTACT}) HTTP/1.1"
        ids.append(fields.pop("x-correlation-id"))
        assert fields.pop("x-ms-client-request-id") == ids[-1]
        assert re.fullmatch(r"hlf-sync/[0-9.]+", fields.pop("user-agent"))
        assert fields == {
            "host": f"127.0.0.1:{tap.port}",
            "accept": "application/json",
            "accept-encoding": "identity",
            "authorization": "Bearer t0k3n",
            "content-type": "application/json",
            "content-length": str(len(body)),
            "if-match": "*",
            "odata-maxversion": "4.0",
            "odata-version": "4.0",
        }
    assert len(set(ids)) == 4
    assert all(UUID(one).version == 4 for one in ids)


async def test_whoami_and_the_verifying_read_ask_for_nothing_more(
    tap: Tap, client: DynamicsClient
) -> None:
    """No body; of the contact one column."""
    assert (await client.who_am_i()).verdict.course is Course.DONE
    await client.read_visibility(CONTACT)
    reads = [
        parsed(request) for request in tap.requests if b"/api/data/" in request.split(b"\r\n")[0]
    ]
    assert [first for first, _, _ in reads] == [
        "GET /api/data/v9.2/WhoAmI HTTP/1.1",
        f"GET /api/data/v9.2/contacts({CONTACT})?$select=new_showonwebsite HTTP/1.1",
    ]
    assert [body for _, _, body in reads] == [b"", b""]
    assert not {"cookie", "if-match", "content-type", "prefer"} & {
        name for _, fields, _ in reads for name in fields
    }


@pytest.mark.requirement("R23")
async def test_the_token_endpoint_alone_sees_the_secret(tap: Tap, client: DynamicsClient) -> None:
    """One form, for the one resource; no mentor, no contact."""
    await client.call(CONTACT, Operation.REMOVE)
    (asked,) = [request for request in tap.requests if request.startswith(b"POST")]
    first, fields, body = parsed(asked)
    assert first == f"POST /{TENANT}/oauth2/v2.0/token HTTP/1.1"
    form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    assert form == {
        "client_id": APP, "client_secret": SECRET, "grant_type": "client_credentials", "client_info": "1",
        "scope": f"https://127.0.0.1:{tap.port}/.default",
    }  # fmt: skip
    assert "cookie" not in fields
    others = b"".join(request for request in tap.requests if request is not asked)
    assert SECRET.encode() not in others
    assert CONTACT.encode() not in asked
