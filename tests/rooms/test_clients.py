"""The clients of the registry and of Kafka Connect, opened by the settings: users, passwords and
CAs of their own (R81), over real TLS.
"""

import asyncio
import base64
import gc
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from hlf_sync import clients
from hlf_sync.clock import epoch_ms
from hlf_sync.config.loading import load
from hlf_sync.config.settings import Settings
from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync_sandbox.dynamics.tls import ca_path, server_context

SECRET = "p4ssw0rd-that-nobody-may-see"


class Door(BaseHTTPRequestHandler):
    """Answers what both APIs are asked for, and only to whoever has the password."""

    wanted: ClassVar[str] = "Basic " + base64.b64encode(f"hlf:{SECRET}".encode()).decode()

    def do_GET(self) -> None:
        is_known = self.headers.get("Authorization") == self.wanted
        body = (
            (b"[]" if self.path == "/subjects" else b'{"topic.prefix": "hlf"}')
            if is_known
            else b'{"error_code": 401}'
        )
        self.send_response(200 if is_known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """An HTTPS server under a CA of its own: its address and the CA's file."""
    folder = tmp_path_factory.mktemp("tls")
    context = server_context(folder, "127.0.0.1", datetime.fromtimestamp(epoch_ms() / 1000, UTC))
    with HTTPServer(("127.0.0.1", 0), Door) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}", ca_path(folder)
        server.shutdown()
        thread.join()


def settings(door: tuple[str, Path], **changes: str) -> Settings:
    """Registry and Connect behind that door."""
    address, ca_file = door
    values = {"URL": address, "USER": "hlf", "PASSWORD": SECRET, "CA_FILE": str(ca_file)} | changes
    return load(
        environ={
            f"HLF_SYNC_{part}_{name}": value
            for part in ("SCHEMA_REGISTRY", "CONNECT")
            for name, value in values.items()
        }
    )


@pytest.mark.requirement("R81")
async def test_registry_and_connect_are_entered_with_user_password_and_ca(
    door: tuple[str, Path],
) -> None:
    """As the settings say, over TLS."""
    secured = settings(door)
    async with clients.registry(secured) as registry:
        await registry.ping()
    with clients.connect_rest(secured, timeout_s=5) as connect:
        assert connect.config("hlf-mentor-cdc") == {"topic.prefix": "hlf"}


@pytest.mark.requirement("R81")
async def test_a_wrong_password_is_said_and_never_shown(door: tuple[str, Path]) -> None:
    """Neither an outage to wait for, nor a missing connector."""
    wrong = settings(door, PASSWORD="wr0ng")
    async with clients.registry(wrong) as registry:
        with pytest.raises(DependencyError, match="credentials_refused") as refused:
            await registry.ping()
    with (
        clients.connect_rest(wrong, timeout_s=5) as connect,
        pytest.raises(SettingsError, match=r"status 401.*HLF_SYNC_CONNECT_USER") as stopped,
    ):
        connect.config("hlf-mentor-cdc")
    assert "wr0ng" not in f"{refused.value}{stopped.value}"


@pytest.mark.requirement("R81")
async def test_without_its_ca_nobody_is_trusted(door: tuple[str, Path]) -> None:
    """The password goes to nobody who cannot prove to be the registry."""
    async with clients.registry(settings(door, CA_FILE="")) as registry:
        with pytest.raises(DependencyError, match="connection refused"):
            await registry.ping()


def test_the_systems_trust_is_not_read_anew_for_each_look_at_connect(
    door: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes 30 ms of CPU, and workers look every few seconds."""
    with clients.connect_rest(settings(door), timeout_s=5):
        monkeypatch.setattr(clients, "trust", lambda *_: pytest.fail("read anew"))
    with clients.connect_rest(settings(door), timeout_s=5) as connect:
        assert connect.config("hlf-mentor-cdc") == {"topic.prefix": "hlf"}


@pytest.mark.requirement("R81")
@pytest.mark.parametrize("part", ["schema_registry", "connect"])
def test_a_ca_file_that_is_none_is_said_by_name(part: str, tmp_path: Path) -> None:
    """Before anything is asked."""
    broken = load(environ={f"HLF_SYNC_{part.upper()}_CA_FILE": str(tmp_path / "absent.pem")})
    with pytest.raises(
        SettingsError,
        match=(
            f"HLF_SYNC_{part.upper()}_CA_FILE names a file that cannot be used: there is no such file"
        ),
    ):
        clients.registry(broken) if part == "schema_registry" else clients.connect_login(broken)


def test_something_else_at_connect_s_address_is_said(door: tuple[str, Path]) -> None:
    """Not taken for a cluster without our connector."""
    with (
        clients.connect_rest(settings(door), timeout_s=5) as connect,
        pytest.raises(SettingsError, match=r"HLF_SYNC_CONNECT_URL: .* not Kafka Connect"),
    ):
        connect.ping()


@pytest.mark.requirement("R81")
async def test_a_password_file_that_is_replaced_counts_from_the_next_request_on(
    door: tuple[str, Path], tmp_path: Path
) -> None:
    """A client that is open already needs no restart."""
    file = tmp_path / "password"
    file.write_text("0ld", encoding="utf-8")
    rotated = settings(door, PASSWORD="", PASSWORD_FILE=str(file))
    async with clients.registry(rotated) as registry:
        with pytest.raises(DependencyError, match="credentials_refused"):
            await registry.ping()
        with clients.connect_rest(rotated, timeout_s=5) as connect:
            file.write_text(SECRET, encoding="utf-8")
            assert connect.config("hlf-mentor-cdc") == {"topic.prefix": "hlf"}
        await registry.ping()


@pytest.mark.requirement("R81")
async def test_a_ca_file_that_is_replaced_counts_without_a_restart(
    door: tuple[str, Path], tmp_path: Path
) -> None:
    """Registry and Connect as well: clients that were opened before the renewal go on after it."""
    address, ca_file = door
    (other := tmp_path / "other").mkdir()
    server_context(other, "127.0.0.1", datetime.fromtimestamp(epoch_ms() / 1000, UTC))
    (file := tmp_path / "ca.pem").write_bytes(ca_path(other).read_bytes())
    chosen = settings((address, file))
    registry = clients.registry(chosen)
    with clients.connect_rest(chosen, timeout_s=5) as connect:
        with pytest.raises(DependencyError):
            await registry.ping()
        with pytest.raises(DependencyError):
            connect.config("x")
        file.write_bytes(ca_file.read_bytes())
        await registry.ping()
        assert connect.config("x") == {"topic.prefix": "hlf"}
    await registry.aclose()


@pytest.mark.behaviour
async def test_looks_at_connect_and_the_registry_cost_no_memory_however_many_there_are(
    door: tuple[str, Path],
) -> None:
    """A leader looks at Connect every three seconds, in threads. With a trust made for each look it
    grew by 1.2 GiB an hour, until something ended it.
    """
    chosen = settings(door)

    def look() -> None:
        with clients.connect_rest(chosen, timeout_s=10) as connect:
            assert connect.config("any") is not None

    for _ in range(8):
        await asyncio.to_thread(look)
    before_mib = resident_mib()
    gc.disable()  # a worker's collector runs seldom (commands/app.py)
    try:
        for _ in range(40):
            await asyncio.to_thread(look)
    finally:
        gc.enable()
    assert resident_mib() - before_mib < 8
    assert clients.connect_login(chosen)["tls"] is clients.connect_login(chosen)["tls"]


def resident_mib() -> float:
    """This process's memory now."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024
