"""The schema registry's client against every kind of answer, by httpx's own MockTransport."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from hlf_sync.errors import DeadLetterError, DependencyError
from hlf_sync.registry.client import Denied, Registry, SchemaText, Unreachable, Unusable

Answer = Callable[[httpx.Request], httpx.Response]

_DENIAL = json.loads(
    (Path(__file__).parent.parent / "fixtures" / "captured.json").read_text(encoding="utf-8")
)["denial"]


_TLS = (
    ssl.create_default_context()
)  # once: reading the system's certificates takes longer than a test


def registry(answer: Answer) -> Registry:
    """A registry that answers so."""
    return Registry(
        "https://registry.example/apis/ccompat/v7/",
        transport=httpx.MockTransport(answer),
        tls=_TLS,
        timeout_s=0.2,
    )


def always(status: int, body: object = None, **headers: str) -> Answer:
    """The same answer to whatever is asked; bytes as they are, anything else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda _request: httpx.Response(status, content=content, headers=headers)


def raising(error: type[Exception]) -> Answer:
    """No answer."""

    def answer(_request: httpx.Request) -> httpx.Response:
        raise error("secret-in-an-error")

    return answer


async def test_a_schema_is_its_text() -> None:
    """Asked for at the Confluent path below the root."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(
            200, json={"schema": '"string"', "schemaType": "AVRO", "references": []}
        )

    async with registry(answer) as client:
        assert SchemaText('"string"') == await client.fetch(17)
    assert [(one.method, one.url.path) for one in asked] == [
        ("GET", "/apis/ccompat/v7/schemas/ids/17")
    ]
    assert asked[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"schema": '"int"'}, SchemaText('"int"')),
        (200, {"schema": "{}", "schemaType": "JSON"}, Unusable("the schema is not Avro")),
        (200, {"schema": "syntax", "schemaType": "PROTOBUF"}, Unusable("the schema is not Avro")),
        (
            200,
            {"schema": "{}", "references": [{"name": "a", "subject": "b", "version": 1}]},
            Unusable("the schema refers to other schemas"),
        ),
        (200, {"schema": 5}, Unreachable("unexpected_answer_200")),
        (200, [], Unreachable("unexpected_answer_200")),
        (200, b"<html>", Unreachable("no_json_200")),
        (200, b"[" * 100_000, Unreachable("no_json_200")),
        (200, b"x" * (2 << 20), Unreachable("answer_too_large")),
        (404, {"error_code": 40403, "message": "Schema not found"}, Denied()),
        (_DENIAL["status"], _DENIAL["body"], Denied()),
        (
            404,
            {"error_code": 404, "message": "HTTP 404 Not Found"},
            Unreachable("unexpected_answer_404"),
        ),
        (404, b"<html>no such page</html>", Unreachable("no_json_404")),
        (401, {"error_code": 40101}, Unreachable("credentials_refused")),
        (403, {}, Unreachable("credentials_refused")),
        (302, {}, Unreachable("unexpected_answer_302")),
        (429, {}, Unreachable("unexpected_answer_429")),
        (500, {"error_code": 50001}, Unreachable("unexpected_answer_500")),
        (503, b"", Unreachable("no_json_503")),
    ],
)
async def test_every_answer_means_one_thing(status: int, body: object, expected: object) -> None:
    """Only a registry's own 'no such schema' is a denial: a wrong address must not turn records
    into dead letters.
    """
    async with registry(always(status, body)) as client:
        assert expected == await client.fetch(1)


@pytest.mark.parametrize(
    "error",
    [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.PoolTimeout, OSError],
)
async def test_no_answer_is_unreachable_and_quotes_nothing(error: type[Exception]) -> None:
    """The name of the error is enough for the log."""
    async with registry(raising(error)) as client:
        assert Unreachable(error.__name__) == await client.fetch(1)


async def test_an_answer_that_trickles_is_given_up() -> None:
    """Each byte in time, the whole never."""

    async def trickle() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.01)
            yield b" "

    async with registry(lambda _request: httpx.Response(200, content=trickle())) as client:
        assert Unreachable("TimeoutError") == await client.fetch(1)


async def test_a_compressed_answer_is_not_unpacked() -> None:
    """We ask for none; so what comes packed could be a bomb."""
    async with registry(
        lambda _request: httpx.Response(
            200, stream=httpx.ByteStream(b"\x1f\x8b..."), headers={"Content-Encoding": "gzip"}
        )
    ) as client:
        assert Unreachable("answer_encoded") == await client.fetch(1)


async def test_credentials_are_sent_and_redirects_not_followed() -> None:
    """Basic authentication; another host never sees it."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(307, headers={"Location": "https://elsewhere.example/"}, json={})

    async with Registry(
        "https://registry.example",
        auth=("user", "pass"),
        tls=_TLS,
        transport=httpx.MockTransport(answer),
    ) as client:
        assert Unreachable("unexpected_answer_307") == await client.fetch(1)
    assert [request.url.host for request in asked] == ["registry.example"]
    assert asked[0].headers["Authorization"] == "Basic dXNlcjpwYXNz"


async def test_ping_is_silent_when_a_registry_lets_us_in() -> None:
    """It answers with the list of subjects."""
    async with registry(always(200, [])) as client:
        await client.ping()


@pytest.mark.parametrize(
    "answer", [always(200, {}), always(401, {}), always(500, {}), raising(httpx.ConnectError)]
)
async def test_ping_tells_when_it_does_not(answer: Answer) -> None:
    """At start this is waited for."""
    async with registry(answer) as client:
        with pytest.raises(DependencyError) as raised:
            await client.ping()
    assert "secret" not in str(raised.value)


async def test_a_schema_is_registered_under_its_subject() -> None:
    """And its id comes back; the subject is quoted, whatever the topic is called."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"id": 42})

    async with registry(answer) as client:
        assert await client.register("letters/a-value", '"string"') == 42
    assert asked[0].url.raw_path.decode() == "/apis/ccompat/v7/subjects/letters%2Fa-value/versions"
    assert json.loads(asked[0].content) == {"schema": '"string"', "schemaType": "AVRO"}


@pytest.mark.parametrize("status", [409, 422])
async def test_a_schema_that_the_registry_refuses_halts(status: int) -> None:
    """Waiting would not help: the subject holds something else."""
    async with registry(always(status, {"error_code": 42201})) as client:
        with pytest.raises(DeadLetterError):
            await client.register("s", "{}")


@pytest.mark.parametrize(
    "answer",
    [
        always(200, {"id": "x"}),
        always(200, []),
        always(401, {}),
        always(503, {}),
        raising(httpx.ReadTimeout),
    ],
)
async def test_a_registry_that_is_away_is_waited_for_when_registering(answer: Answer) -> None:
    """Tried again by the caller."""
    async with registry(answer) as client:
        with pytest.raises(DependencyError):
            await client.register("s", "{}")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"is_compatible": True}, True),
        (200, {"is_compatible": False}, False),
        (404, {"error_code": 40401}, True),
        (404, {"error_code": 40402}, True),
    ],
)
async def test_compatibility_is_the_registrys_word(
    status: int, body: object, expected: bool
) -> None:
    """A subject without versions takes anything."""
    async with registry(always(status, body)) as client:
        assert expected == await client.is_compatible("s", "{}")


@pytest.mark.parametrize("answer", [always(200, {}), always(404, {}), always(500, {})])
async def test_compatibility_is_unknown_while_no_registry_answers(answer: Answer) -> None:
    """Then nobody guesses."""
    async with registry(answer) as client:
        with pytest.raises(DependencyError):
            await client.is_compatible("s", "{}")


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, {"subject": "s", "id": 7, "version": 1}, 7),
        (404, {"error_code": 40401}, None),
        (404, {"error_code": 40403}, None),
    ],
)
async def test_a_schema_is_found_under_its_subject_or_not(
    status: int, body: object, found: int | None
) -> None:
    """Asked, and not registered by asking."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(status, json=body)

    async with registry(answer) as client:
        assert await client.find("s/1", '"string"') == found
    assert [(one.method, one.url.raw_path.decode()) for one in asked] == [
        ("POST", "/apis/ccompat/v7/subjects/s%2F1")
    ]


@pytest.mark.parametrize(
    ("status", "body"), [(404, {}), (500, {"error_code": 50001}), (200, {"id": "7"}), (401, {})]
)
async def test_no_word_on_a_schema_is_no_denial(status: int, body: object) -> None:
    """A registry in trouble must not look like one without our schema."""
    async with registry(always(status, body)) as client:
        with pytest.raises(DependencyError):
            await client.find("s", '"string"')
