"""What answers at the address of Kafka Connect or of the schema registry may be anything with a 200:
it is said, and ends nobody.
"""

import asyncio
import gzip
from collections.abc import Callable, Iterator
from contextlib import suppress

import httpx
import pytest
from hlf_sync.connect.connector import revive
from hlf_sync.connect.rest import ConnectRest
from hlf_sync.decode.schema import SchemaCache
from hlf_sync.errors import DeadLetterError, DependencyError, SettingsError
from hlf_sync.registry.client import Registry
from hlf_sync.registry.schemas import RegistrySchemas

pytestmark = pytest.mark.requirement("R68")

_BODIES: dict[str, bytes] = {
    "empty": b"",
    "list": b"[]",
    "null": b"null",
    "number": b"1e999",
    "text": b'"RUNNING"',
    "health check": b'{"status":"UP"}',
    "page": b"<html><body>Welcome</body></html>",
    "half": b'{"connector":{"state":"RUNNING"},"tas',
    "not UTF-8": b"\xff\xfe{}",
    "deep": b"[" * 200_000,
    "long number": b"9" * 10_000,
    "no tasks": b'{"connector":{"state":"RUNNING"}}',
    "tasks of another kind": b'{"connector":{"state":"RUNNING"},"tasks":{"0":{}}}',
    "a task without a state": b'{"connector":{"state":"RUNNING"},"tasks":[{}]}',
    "a task of another kind": b'{"connector":{"state":"RUNNING"},"tasks":["RUNNING"]}',
    "a state of another kind": b'{"connector":{"state":null},"tasks":[{"state":7}]}',
    "a trace of another kind": (
        b'{"connector":{"state":"FAILED","trace":["x"]},"tasks":[{"state":"FAILED","trace":7}]}'
    ),
    "configs of another kind": b'{"configs":[{"value":null},7]}',
    "errors of another kind": b'{"configs":[{"value":{"name":"x","errors":{"a":1}}}]}',
    "a lone surrogate": b'{"schema":"\\ud800","id":1}',
    "a negative id": b'{"id":-1}',
    "an endless id": b'{"id":99999999999999}',
    "a schema of another kind": b'{"schema":{"type":"string"}}',
    "a schema that is none": b'{"schema":"[[[[null"}',
    "a schema of a deep list": b'{"schema":"' + b"[" * 100_000 + b'"}',
}


def _answers(body: bytes, **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _request: httpx.Response(
        200, stream=httpx.ByteStream(body), headers={"Content-Length": str(len(body)), **headers}
    )


_WAYS: dict[str, Callable[[httpx.Request], httpx.Response]] = {
    **{name: _answers(body) for name, body in _BODIES.items()},
    "broken gzip": _answers(b"\x1f\x8bnonsense", **{"Content-Encoding": "gzip"}),
    "a bomb": _answers(gzip.compress(bytes(64 << 20)), **{"Content-Encoding": "gzip"}),
    "another encoding": _answers(b"{}", **{"Content-Encoding": "x-odd"}),
}


@pytest.mark.parametrize("way", _WAYS)
def test_whatever_answers_in_connects_place_ends_nobody(way: str) -> None:
    """Each question is answered, or refused by one of the two errors that every caller knows."""
    transport = httpx.MockTransport(_WAYS[way])
    questions: list[Callable[[ConnectRest], object]] = [
        lambda rest: rest.ping(),
        lambda rest: rest.status("c"),
        lambda rest: rest.config("c"),
        lambda rest: rest.put_config("c", {}),
        lambda rest: rest.restart_failed("c"),
        lambda rest: rest.validate({"connector.class": "Demo"}),
    ]
    for question in questions:
        with (
            ConnectRest("http://connect", transport=transport, timeout_s=5) as rest,
            suppress(DependencyError, SettingsError),
        ):
            question(rest)
    with pytest.raises((DependencyError, SettingsError)):
        revive("http://connect", "c", transport=transport)


@pytest.mark.parametrize("way", _WAYS)
async def test_whatever_answers_in_the_registrys_place_ends_nobody(way: str) -> None:
    """Nor does a schema that is none, or an id that no record could hold."""
    async with Registry("http://registry", transport=httpx.MockTransport(_WAYS[way])) as registry:
        await RegistrySchemas(registry, SchemaCache()).fetch(1)
        for question in (
            registry.ping(),
            registry.guard("s"),
            registry.is_compatible("s", "{}"),
            registry.register("s", "{}"),
            registry.find("s", "{}"),
        ):
            try:
                answer = await question
            except (DependencyError, DeadLetterError):
                continue
            assert type(answer) is not int or 0 <= answer < 1 << 31


def test_an_answer_that_comes_byte_by_byte_ends_in_time() -> None:
    """The client's own time-out begins anew with each byte."""

    class Drip(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b" "
                asyncio.run(asyncio.sleep(0.001))

    transport = httpx.MockTransport(lambda _request: httpx.Response(200, stream=Drip()))
    with (
        ConnectRest("http://connect", transport=transport, timeout_s=-4.9) as rest,
        pytest.raises(DependencyError, match="no answer in time"),
    ):
        rest.status("c")
