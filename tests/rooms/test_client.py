"""The Dynamics client over `httpx.MockTransport`: what it sends, and what it makes of every kind of
answer.
"""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest
from hlf_sync.core.model import ContactId, ErrorCode, Operation, Visibility
from hlf_sync.core.verdict import Course, Effect
from hlf_sync.dynamics.auth.credentials import TokenUnavailableError
from hlf_sync.dynamics.client import DynamicsClient
from hlf_sync.dynamics.contract import DynamicsContract
from hlf_sync.dynamics.listing import first_address
from hlf_sync.errors import AuthError, InvariantError
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.credentials import ScriptedCredentials

CONTACT = ContactId("6f1a1f3c-0000-4000-8000-000000000001")
CONTRACT = DynamicsContract("https://org.crm.dynamics.com")
COLUMN = CONTRACT.visibility_column

Answering = Callable[[httpx.Request], httpx.Response]


def error(status: int, code: str, **headers: str) -> httpx.Response:
    """An error body of Dataverse."""
    body = {"error": {"code": code, "message": "contact With Id = … Does Not Exist"}}
    return httpx.Response(
        status,
        json=body,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


class Dynamics:
    """Answers by a function or a list, and keeps every request."""

    def __init__(self, *answers: httpx.Response | Exception | Answering) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)


def client(
    dynamics: Dynamics,
    credentials: ScriptedCredentials | None = None,
    *,
    timeout_s: float = 5.0,
    epoch_ms: int = 0,
) -> DynamicsClient:
    """A client of that Dynamics."""
    return DynamicsClient(
        CONTRACT,
        credentials or ScriptedCredentials(),
        httpx.MockTransport(dynamics),
        request_timeout_s=timeout_s,
        epoch_ms=lambda: epoch_ms,
    )


@pytest.mark.requirement("R22")
@pytest.mark.requirement("R24")
@pytest.mark.parametrize(
    ("operation", "value"), [(Operation.REMOVE, False), (Operation.RESTORE, True)]
)
async def test_a_call_is_one_patch_of_the_one_column(operation: Operation, value: bool) -> None:
    """Exactly the allowed headers, one body, and the same fresh UUID in both
    correlation headers.
    """
    dynamics = Dynamics(httpx.Response(204))
    result = await client(dynamics).call(CONTACT, operation)
    (request,) = dynamics.requests
    assert request.method == "PATCH"
    assert str(request.url) == f"https://org.crm.dynamics.com/api/data/v9.2/contacts({CONTACT})"
    assert json.loads(request.content) == {COLUMN: value}
    assert request.headers["if-match"] == "*"
    assert request.headers["authorization"] == "Bearer token-1"
    assert (
        request.headers["x-correlation-id"]
        == request.headers["x-ms-client-request-id"]
        == result.correlation_id
    )
    assert UUID(result.correlation_id).version == 4
    assert sorted(request.headers) == [
        "accept",
        "accept-encoding",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "if-match",
        "odata-maxversion",
        "odata-version",
        "user-agent",
        "x-correlation-id",
        "x-ms-client-request-id",
    ]
    assert (result.verdict.course, result.http_status) == (Course.DONE, 204)


async def test_each_attempt_has_a_correlation_id_of_its_own() -> None:
    """Two calls, two ids."""
    dynamics = Dynamics(httpx.Response(204))
    asking = client(dynamics)
    await asking.call(CONTACT, Operation.REMOVE)
    await asking.call(CONTACT, Operation.REMOVE)
    assert len({request.headers["x-correlation-id"] for request in dynamics.requests}) == 2


@pytest.mark.requirement("R26")
async def test_a_401_is_renewed_and_replayed_once() -> None:
    """The old token is dropped, the replay has a new token and a new id, and its answer counts."""
    dynamics = Dynamics(httpx.Response(401), httpx.Response(204))
    credentials = ScriptedCredentials("old", "new")
    result = await client(dynamics, credentials).call(CONTACT, Operation.REMOVE)
    assert credentials.invalidated == ["old"]
    assert [request.headers["authorization"] for request in dynamics.requests] == [
        "Bearer old",
        "Bearer new",
    ]
    assert (
        dynamics.requests[0].headers["x-correlation-id"]
        != dynamics.requests[1].headers["x-correlation-id"]
        == result.correlation_id
    )
    assert result.verdict.course is Course.DONE


@pytest.mark.requirement("R48")
async def test_a_second_401_halts() -> None:
    """Two requests, not three."""
    dynamics = Dynamics(httpx.Response(401))
    result = await client(dynamics).call(CONTACT, Operation.REMOVE)
    assert (result.verdict.course, result.verdict.error_code, result.http_status) == (
        Course.HALT,
        ErrorCode.AUTH_FAILURE,
        401,
    )
    assert len(dynamics.requests) == 2


async def test_a_401_whose_renewal_fails_is_postponed_with_its_status() -> None:
    """The token endpoint is away at the wrong moment: a definite refusal, and no attempt."""
    credentials = ScriptedCredentials("old", TokenUnavailableError("status 503", 4.0))
    result = await client(Dynamics(httpx.Response(401)), credentials).call(
        CONTACT, Operation.REMOVE
    )
    assert (result.verdict.course, result.verdict.effect, result.http_status) == (
        Course.POSTPONED,
        Effect.NONE,
        401,
    )


@pytest.mark.requirement("R48")
async def test_without_a_token_nothing_is_sent() -> None:
    """Refused credentials halt, an endpoint that is away postpones; Dynamics sees neither."""
    dynamics = Dynamics(httpx.Response(204))
    refused = await client(
        dynamics, ScriptedCredentials(AuthError("invalid_client", retry_after_s=30.0))
    ).call(CONTACT, Operation.REMOVE)
    away = await client(
        dynamics, ScriptedCredentials(TokenUnavailableError("read_timeout", 2.0))
    ).call(CONTACT, Operation.REMOVE)
    assert (refused.verdict.course, refused.verdict.error_code) == (
        Course.HALT,
        ErrorCode.AUTH_FAILURE,
    )
    assert (away.verdict.course, away.verdict.error_code, away.verdict.retry_after_s) == (
        Course.POSTPONED,
        ErrorCode.NETWORK_ERROR,
        2.0,
    )
    assert dynamics.requests == []


@pytest.mark.requirement("R25")
@pytest.mark.parametrize(
    "location",
    ["https://elsewhere.example/", "http://org.crm.dynamics.com/", "/api/data/v9.2/other"],
)
async def test_no_redirect_is_followed(location: str) -> None:
    """Authorization goes to no other address."""
    dynamics = Dynamics(httpx.Response(302, headers={"Location": location}))
    result = await client(dynamics).call(CONTACT, Operation.REMOVE)
    assert len(dynamics.requests) == 1
    assert result.verdict.course is Course.REJECTED


async def test_no_cookie_comes_back() -> None:
    """An affinity cookie would pin all calls to one server."""
    dynamics = Dynamics(
        httpx.Response(204, headers={"Set-Cookie": "ARRAffinity=abc; path=/; secure; HttpOnly"})
    )
    asking = client(dynamics)
    for _ in range(3):
        await asking.call(CONTACT, Operation.REMOVE)
    assert all("cookie" not in request.headers for request in dynamics.requests)


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"code":"0x80040333","message":"dup"}}',
        b'{"error":{"code":"-2147220685"}}',
        b'{"error":{"code":2147746611}}',
        b'{"Message":"m","ExceptionType":"t","ErrorCode":"0x80040333"}',
        b'{"error":{"code":"0X80040333","innererror":{"message":"m","stacktrace":"s"}}}',
    ],
)
async def test_an_error_code_is_read_from_every_shape(body: bytes) -> None:
    """Hexadecimal, signed, a number, without the envelope."""
    result = await client(Dynamics(httpx.Response(500, content=body))).call(
        CONTACT, Operation.REMOVE
    )
    assert (result.verdict.course, result.verdict.code) == (Course.REJECTED, 0x80040333)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>503</html>",
        b'{"error":{"code":""}}',
        b'{"error":',
        b"[" * 100_000,
        b'{"error":[]}',
        b'{"error":{"code":true}}',
        b"null",
        b"\xff\xfe",
    ],
)
async def test_a_body_that_says_nothing_leaves_the_status(body: bytes) -> None:
    """HTML, nothing, truncated, ten thousand levels deep: the status decides."""
    result = await client(Dynamics(httpx.Response(503, content=body))).call(
        CONTACT, Operation.REMOVE
    )
    assert (result.verdict.course, result.verdict.code) == (Course.RETRY, None)


async def test_a_compressed_error_is_read_and_a_bomb_is_not() -> None:
    """gzip although we asked for identity; what unpacks to megabytes says nothing."""

    def packed(content: bytes) -> httpx.Response:
        return httpx.Response(
            500, stream=Raw([gzip.compress(content)]), headers={"Content-Encoding": "gzip"}
        )

    read = await client(Dynamics(packed(b'{"error":{"code":"0x80040333"}}'))).call(
        CONTACT, Operation.REMOVE
    )
    bomb = await client(
        Dynamics(packed(b'{"error":{"code":"0x80040333"}}' + b" " * 50_000_000))
    ).call(CONTACT, Operation.REMOVE)
    broken = Dynamics(
        httpx.Response(500, stream=Raw([b"\x1f\x8bno"]), headers={"Content-Encoding": "gzip"})
    )
    assert read.verdict.code == 0x80040333
    assert bomb.verdict.code is None
    assert (await client(broken).call(CONTACT, Operation.REMOVE)).verdict.code is None


class Raw(httpx.AsyncByteStream):
    """A body in given chunks; an exception among them breaks off."""

    def __init__(self, chunks: list[bytes | Exception]) -> None:
        self.chunks, self.given, self.is_closed = chunks, 0, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            self.given += 1
            yield chunk

    async def aclose(self) -> None:
        self.is_closed = True


async def test_a_long_body_is_not_read_to_its_end() -> None:
    """64 KiB are more than any error needs; the connection is given up."""
    body = Raw([b"x" * 10_000] * 1000)
    result = await client(Dynamics(httpx.Response(400, stream=body))).call(
        CONTACT, Operation.REMOVE
    )
    assert result.verdict.course is Course.REJECTED
    assert body.given < 10
    assert body.is_closed


async def test_a_body_that_breaks_off_leaves_the_status() -> None:
    """The refusal was there before the connection broke."""
    body = Raw([b'{"error":', httpx.ReadError("reset")])
    result = await client(Dynamics(httpx.Response(400, stream=body))).call(
        CONTACT, Operation.REMOVE
    )
    assert (result.verdict.course, result.verdict.effect, result.http_status) == (
        Course.REJECTED,
        Effect.NONE,
        400,
    )


async def test_closing_a_broken_answer_hides_nothing() -> None:
    """A connection that fails at its end has nothing to say any more."""

    class Stubborn(Raw):
        async def aclose(self) -> None:
            raise httpx.CloseError("gone")

    result = await client(Dynamics(httpx.Response(400, stream=Stubborn([b"{}"])))).call(
        CONTACT, Operation.REMOVE
    )
    assert result.verdict.course is Course.REJECTED


@pytest.mark.parametrize(
    ("body", "course"),
    [
        ({"contactid": CONTACT, COLUMN: False}, Course.DONE),
        ({COLUMN: False}, Course.DONE),
        ({"contactid": CONTACT.upper(), COLUMN: False}, Course.DONE),
        ({"contactid": CONTACT, COLUMN: None}, Course.RETRY),
        ({"contactid": CONTACT, COLUMN: True}, Course.RETRY),
        ({"contactid": CONTACT, COLUMN: 0}, Course.RETRY),
        ({"contactid": CONTACT, COLUMN: "false"}, Course.RETRY),
        ({"contactid": "6f1a1f3c-0000-4000-8000-000000000002", COLUMN: False}, Course.RETRY),
        ({"contactid": 7, COLUMN: False}, Course.RETRY),
        ({"error": {"code": "0x80040217"}}, Course.RETRY),
        ([], Course.RETRY),
    ],
)
async def test_a_200_is_a_success_only_when_it_shows_the_value(
    body: object, course: Course
) -> None:
    """The representation of this contact with the value asked for; anything else proves nothing."""
    result = await client(Dynamics(httpx.Response(200, json=body))).call(CONTACT, Operation.REMOVE)
    assert result.verdict.course is course


@pytest.mark.requirement("R27")
async def test_retry_after_as_a_date_is_read_by_the_servers_clock() -> None:
    """Our own clock counts only where the answer has no date, so moving it a day
    changes nothing.
    """
    dated = error(
        429,
        "0x80072322",
        Retry_After="Mon, 24 Nov 2025 16:00:17 GMT",
        Date="Mon, 24 Nov 2025 16:00:00 GMT",
    )
    bare = error(429, "0x80072322", Retry_After="Mon, 24 Nov 2025 16:00:17 GMT")
    day_off = await client(Dynamics(dated), epoch_ms=86_400_000).call(CONTACT, Operation.REMOVE)
    own = await client(Dynamics(bare), epoch_ms=1_764_000_007_000).call(CONTACT, Operation.REMOVE)
    assert day_off.verdict.retry_after_s == 17.0
    assert own.verdict.retry_after_s == 10.0


async def test_the_debugging_headers_are_never_parsed() -> None:
    """`1,200.00` crashes naive clients."""
    dynamics = Dynamics(
        httpx.Response(204, headers={"x-ms-ratelimit-time-remaining-xrm-requests": "1,200.00"})
    )
    assert (await client(dynamics).call(CONTACT, Operation.REMOVE)).verdict.course is Course.DONE


@pytest.mark.parametrize(
    ("failure", "effect"),
    [
        (httpx.ConnectError("refused"), Effect.NONE),
        (httpx.PoolTimeout("busy"), Effect.NONE),
        (httpx.ReadTimeout("slow"), Effect.MAY_COME_LATE),
        (httpx.ReadError("reset"), Effect.MAY_COME_LATE),
        (httpx.RemoteProtocolError("garbage"), Effect.MAY_COME_LATE),
        (httpx.WriteError("broken"), Effect.MAY_COME_LATE),
    ],
)
async def test_what_the_network_does_is_a_verdict(failure: Exception, effect: Effect) -> None:
    """No exception leaves the client."""
    result = await client(Dynamics(failure)).call(CONTACT, Operation.REMOVE)
    assert (result.verdict.course, result.verdict.effect, result.http_status) == (
        Course.RETRY,
        effect,
        None,
    )


async def test_the_time_limit_covers_the_whole_attempt() -> None:
    """Headers that never come, and a body that drips for ever."""

    async def hang(_request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    class Dripping(Raw):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                await asyncio.sleep(0.001)
                yield b" "

    def asking(transport: httpx.MockTransport) -> DynamicsClient:
        return DynamicsClient(CONTRACT, ScriptedCredentials(), transport, request_timeout_s=0.05)

    hung = await asking(httpx.MockTransport(hang)).call(CONTACT, Operation.REMOVE)
    dripped = await asking(
        httpx.MockTransport(lambda _: httpx.Response(503, stream=Dripping([])))
    ).call(CONTACT, Operation.REMOVE)
    friendly = await asking(
        httpx.MockTransport(lambda _: httpx.Response(200, stream=Dripping([])))
    ).call(CONTACT, Operation.REMOVE)
    assert (hung.verdict.error_code, hung.verdict.effect) == (
        ErrorCode.NETWORK_ERROR,
        Effect.MAY_COME_LATE,
    )
    assert (dripped.http_status, dripped.verdict.error_code) == (503, ErrorCode.SERVER_ERROR)
    assert (friendly.verdict.course, friendly.verdict.effect) == (Course.RETRY, Effect.UNKNOWN)


async def test_cancellation_passes_through() -> None:
    """Neither success nor failure."""

    async def hang(_request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    asking = DynamicsClient(CONTRACT, ScriptedCredentials(), httpx.MockTransport(hang))
    task = asyncio.create_task(asking.call(CONTACT, Operation.REMOVE))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("contact_id", ["", "x", "../../WhoAmI", CONTACT + ")", CONTACT.upper()])
async def test_a_contact_id_that_is_no_uuid_never_becomes_an_address(contact_id: str) -> None:
    """It comes from a uuid column; anything else is a bug of ours."""
    with pytest.raises(InvariantError):
        await client(Dynamics(httpx.Response(204))).call(ContactId(contact_id), Operation.REMOVE)


@pytest.mark.parametrize(
    ("value", "visibility"),
    [
        (True, Visibility.VISIBLE),
        (False, Visibility.HIDDEN),
        (None, Visibility.HIDDEN),
        ("yes", None),
    ],
)
async def test_reading_asks_for_the_one_column(
    value: object, visibility: Visibility | None
) -> None:
    """A GET with $select, nothing in its body; a value outside the contract is not a reading."""
    dynamics = Dynamics(
        httpx.Response(200, json={"@odata.etag": 'W/"1"', COLUMN: value, "contactid": CONTACT})
    )
    reading = await client(dynamics).read_visibility(CONTACT)
    (request,) = dynamics.requests
    assert (request.method, request.url.query, request.content) == (
        "GET",
        f"$select={COLUMN}".encode(),
        b"",
    )
    assert "if-match" not in request.headers
    assert reading.visibility is visibility


async def test_reading_a_missing_contact_is_a_verdict() -> None:
    """404: not found, no visibility."""
    reading = await client(Dynamics(error(404, "0x80040217"))).read_visibility(CONTACT)
    assert (reading.visibility, reading.result.verdict.error_code) == (None, ErrorCode.NOT_FOUND)


async def test_who_am_i_writes_nothing() -> None:
    """doctor's question."""
    dynamics = Dynamics(httpx.Response(200, json={"UserId": "u", "OrganizationId": "o"}))
    assert (await client(dynamics).who_am_i()).verdict.course is Course.DONE
    assert [(request.method, request.url.path) for request in dynamics.requests] == [
        ("GET", "/api/data/v9.2/WhoAmI")
    ]
    assert (
        await client(Dynamics(httpx.Response(200, text="<html>"))).who_am_i()
    ).verdict.course is Course.RETRY


async def test_closing_the_client_closes_what_it_was_given() -> None:
    """Credentials stop renewing."""
    credentials = ScriptedCredentials()
    await client(Dynamics(httpx.Response(204)), credentials).aclose()
    assert credentials.is_closed


header_names = st.sampled_from(
    [
        "Retry-After",
        "Date",
        "Content-Type",
        "Content-Encoding",
        "Set-Cookie",
        "Location",
        "WWW-Authenticate",
        "X-Any",
    ]
)
header_values = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60),
    st.sampled_from(["gzip", "-1", "1e9", "identity"]),
)


@given(
    st.integers(100, 999),
    st.lists(st.tuples(header_names, header_values), max_size=5),
    st.one_of(
        st.binary(max_size=300),
        st.from_type(type(None)).map(lambda _: b'{"error":{"code":"0x80072322"}}'),
    ),
)
@pytest.mark.requirement("R28")
def test_a_fuzzed_answer_never_raises_and_never_counts_as_success(
    status: int, headers: list[tuple[str, str]], body: bytes
) -> None:
    """Any status, any headers, any bytes: a verdict; success only for 204."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    answer = httpx.Response(status, headers=raw, stream=Raw([body]))
    result = asyncio.run(client(Dynamics(answer)).call(CONTACT, Operation.REMOVE))
    assert (result.verdict.course is Course.DONE) == (status == 204)
    assert result.verdict.retry_after_s is None or 0 <= result.verdict.retry_after_s <= 3600


@pytest.mark.requirement("R63")
async def test_the_listing_of_another_table_asks_for_its_primary_key_first() -> None:
    """Once; where Dynamics does not tell it, there is no listing."""
    contact = "6f1a1f3c-0000-4000-8000-000000000001"
    asked: list[str] = []
    told: list[dict[str, object]] = [
        {"value": []},
        {"value": [{"EntitySetName": "new_mentors", "PrimaryIdAttribute": "new_mentorid"}]},
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path.rpartition("/")[2])
        if asked[-1] == "EntityDefinitions":
            return httpx.Response(200, json=told.pop(0))
        return httpx.Response(
            200, json={"value": [{"new_mentorid": contact, "new_showonwebsite": True}]}
        )

    contract = DynamicsContract("https://org.crm.dynamics.com", entity_set="new_mentors")
    client = DynamicsClient(contract, ScriptedCredentials(), httpx.MockTransport(answer))
    assert (await client.read_listing()).page is None
    for _ in range(2):
        page = (await client.read_listing()).page
        assert page is not None
        assert page.contacts == (contact,)
    assert asked == ["EntityDefinitions", "EntityDefinitions", "new_mentors", "new_mentors"]


@pytest.mark.parametrize(
    ("value", "filtered"),
    [(True, "x eq true"), (7, "x eq 7"), ("it's", "x eq 'it''s'")],
)
def test_the_shown_value_is_asked_for_as_odata_writes_it(
    value: bool | int | str, filtered: str
) -> None:
    """A choice or a text will do as well."""
    contract = DynamicsContract(
        "https://org.crm.dynamics.com",
        visibility_column="x",
        visible_value=value,
        hidden_value="never",
    )
    assert f"$filter={quote(filtered)}&" in first_address(contract, "contactid")
