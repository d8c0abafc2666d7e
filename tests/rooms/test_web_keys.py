"""The issuer's keys: a key server that is away, slow, wrong or flooded, and keys that are no use."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hlf_sync.web.auth import keys as keys_module
from hlf_sync.web.auth.keys import KeySet, NoKeysError, parse

from tests.fixtures.cluster import Cluster
from tests.fixtures.web import Issuer, public_jwk, serving, until

pytestmark = pytest.mark.requirement("R61")


class KeyServer:
    """Publishes what it is told to, and counts who asks."""

    def __init__(self, port: int = 0) -> None:
        self.content: bytes = b"{}"
        self.status = 200
        self.asked = 0
        outer = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.content)))
                self.end_headers()
                self.wfile.write(outer.content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks"


@contextmanager
def key_server(port: int = 0, issuer: Issuer | None = None) -> Iterator[KeyServer]:
    found = KeyServer(port)
    if issuer is not None:
        found.content = json.dumps(issuer.jwks()).encode()
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        found.server.shutdown()
        found.server.server_close()
        thread.join()


@pytest.mark.postgres
def test_the_service_starts_without_its_key_server_refuses_and_recovers(
    cluster: Cluster, tmp_path: Path
) -> None:
    issuer = Issuer()
    with key_server() as gone:
        url, port = gone.url, gone.server.server_port
    dsn = cluster.dsn(cluster.fresh(), "hlf_web")
    with serving(tmp_path, dsn, None, web_jwks_url=url) as service:

        def answer() -> httpx.Response:
            path = "/api/v1/mentors/00000000-0000-0000-0000-000000000000"
            return service.client.get(path, headers=issuer.bearer())

        refused = answer()
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "2"
        assert refused.headers["content-type"] == "application/problem+json"
        with key_server(port, issuer):
            until(lambda: answer().status_code == 404)
        assert answer().status_code == 404  # away again, and the keys are kept


async def test_a_flood_of_unknown_kids_asks_the_key_server_once() -> None:
    issuer = Issuer()
    with key_server(0, issuer) as server:
        keys = KeySet(server.url)
        await keys.start()
        found = await asyncio.gather(*(keys.find(f"made-up-{n}") for n in range(500)))
        assert found == [None] * 500
        assert server.asked == 1  # that of the start: within 30 s there is no other
        assert await keys.find("rsa-1") is not None
        await keys.close()


async def test_a_rotated_key_is_found_once_it_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keys_module, "EVERY_S", 0.0)
    issuer, rotated = Issuer(), Issuer()
    with key_server(0, issuer) as server:
        keys = KeySet(server.url)
        await keys.start()
        server.content = json.dumps({"keys": [public_jwk(rotated.keys["rsa-1"], "rsa-2")]}).encode()
        assert await keys.find("rsa-2") is not None
        assert await keys.find("rsa-1") is None  # withdrawn
        assert server.asked >= 2
        await keys.close()


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (500, b"{}"),
        (302, b""),
        (200, b""),
        (200, b"{"),
        (200, b"[]"),
        (200, b'{"keys": {}}'),
        (200, b'{"keys": []}'),
        (200, b'{"keys": [1, null, "x", {}]}'),
        (200, b" " * 2_000_000),
    ],
)
async def test_a_wrong_answer_of_the_key_server_leaves_the_keys_as_they_were(
    status: int, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "EVERY_S", 0.0)
    monkeypatch.setattr(keys_module, "RETRY_S", 0.0)
    issuer = Issuer()
    with key_server() as server:
        server.status, server.content = status, content
        keys = KeySet(server.url)
        await keys.start()
        with pytest.raises(NoKeysError):
            await keys.find("rsa-1")
        server.status, server.content = 200, json.dumps(issuer.jwks()).encode()
        assert await keys.find("rsa-1") is not None
        server.status, server.content = status, content
        assert await keys.find("other") is None
        assert await keys.find("rsa-1") is not None
        await keys.close()


def _entry(**changes: Any) -> dict[str, Any]:
    entry = {**public_jwk(Issuer().keys["rsa-1"], "k"), **changes}
    return {name: value for name, value in entry.items() if value is not ...}


def _weak() -> dict[str, Any]:
    return public_jwk(rsa.generate_private_key(65_537, 1024), "k")  # noqa: S505 - what is refused


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "k"},
        _entry(use="enc"),
        _entry(kid=7),
        _entry(alg="HS256"),
        _entry(alg="none"),
        _entry(n=...),
        _entry(kty="EC"),
        _weak(),
    ],
)
def test_a_key_that_may_verify_nothing_is_passed_over(entry: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no usable key"):
        parse(json.dumps({"keys": [entry]}).encode())


def test_the_first_of_two_keys_of_one_kid_counts() -> None:
    first, second = _entry(), _entry()
    found = parse(json.dumps({"keys": [first, second]}).encode())
    assert (
        found["k"].key.public_numbers()
        == parse(json.dumps({"keys": [first]}).encode())["k"].key.public_numbers()
    )


async def test_without_a_kid_the_only_key_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [_entry()]}))
    keys = KeySet(file.as_uri())
    await keys.start()
    assert await keys.find(None) is not None
    await keys.close()


async def test_a_key_of_an_odd_shape_ends_no_renewal(tmp_path: Path) -> None:
    """Its curve is a list: the key set counts as unreadable, and the service goes on asking."""
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [{"kty": "EC", "kid": "odd", "crv": ["P-256"]}]}))
    await KeySet(str(path))._refresh()
