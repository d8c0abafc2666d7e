"""Tokens from Entra through the real msal, with the token endpoint played by
`httpx.MockTransport`.
"""

import asyncio
import json
import logging
import ssl
import threading
import traceback
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import msal
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from hlf_sync.dynamics.auth.credentials import AccessToken, TokenUnavailableError
from hlf_sync.dynamics.auth.entra import (
    ClientCertificate,
    ClientSecret,
    EntraApplication,
    EntraSource,
    Key,
    ManagedIdentitySource,
    credentials_for,
)
from hlf_sync.dynamics.auth.lifetime import lifetime_of
from hlf_sync.dynamics.auth.token_endpoint import TokenEndpoint
from hlf_sync.errors import AuthError, HlfSyncError, SettingsError
from pydantic import SecretStr

from tests.fixtures.certificates import certificate_pem, pem_of, self_signed

pytestmark = pytest.mark.requirement("R23")

STS = "https://sts.example"
TENANT = "00000000-0000-0000-0000-00000000000a"
RESOURCE = "https://org.crm.dynamics.com"
APPLICATION = EntraApplication(TENANT, "client-1", RESOURCE, STS)
SECRET = "canary-secret-7Q"
TOKEN = "canary-token-8Z"
DESCRIPTION = "AADSTS7000215: Invalid client secret provided. canary-description"


class Entra:
    """The token endpoint: discovery, and answers from a list (the last one again and again)."""

    def __init__(self, *answers: httpx.Response | Exception, authority: str = STS) -> None:
        self.answers = list(answers) or [granted()]
        self.authority = authority
        self.requests: list[httpx.Request] = []
        self.discovery: httpx.Response | None = None

    @property
    def forms(self) -> list[dict[str, str]]:
        """The token requests' fields."""
        return [
            {name: values[0] for name, values in parse_qs(r.content.decode()).items()}
            for r in self.requests
            if r.method == "POST"
        ]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.path.endswith("/openid-configuration"):
            return self.discovery or httpx.Response(200, json=self.document())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def document(self) -> dict[str, str]:
        """The discovery document."""
        root = f"{self.authority}/{TENANT}"
        return {
            "issuer": f"{root}/v2.0",
            "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
            "token_endpoint": f"{root}/oauth2/v2.0/token",
        }


def granted(lifetime: object = 3599, token: object = TOKEN) -> httpx.Response:
    """A token answer."""
    return httpx.Response(
        200,
        json={
            "token_type": "Bearer",
            "expires_in": lifetime,
            "ext_expires_in": lifetime,
            "access_token": token,
        },
    )


def refusal(
    error: str, status: int = 400, *, aadsts: int | None = 7000215, retry_after: str | None = None
) -> httpx.Response:
    """An error answer of Entra's shape."""
    codes = [] if aadsts is None else [aadsts]
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return httpx.Response(
        status,
        json={
            "error": error,
            "error_description": DESCRIPTION,
            "error_codes": codes,
            "trace_id": "t",
        },
        headers=headers,
    )


def source(entra: Entra, key: Key | None = None) -> EntraSource:
    """A source that asks that endpoint."""
    return EntraSource(
        APPLICATION, key or ClientSecret(lambda: SecretStr(SECRET)), httpx.MockTransport(entra)
    )


async def test_a_secret_is_exchanged_for_a_token_of_the_one_resource() -> None:
    """Two requests: discovery, token; scope is the environment's .default."""
    entra = Entra()
    grant = await source(entra).fetch()
    assert (grant.secret.get_secret_value(), grant.lifetime_s) == (TOKEN, 3599.0)
    assert [(r.method, r.url.path) for r in entra.requests] == [
        ("GET", f"/{TENANT}/v2.0/.well-known/openid-configuration"),
        ("POST", f"/{TENANT}/oauth2/v2.0/token"),
    ]
    form = entra.forms[0]
    assert (form["grant_type"], form["client_id"], form["client_secret"]) == (
        "client_credentials",
        "client-1",
        SECRET,
    )
    assert form["scope"] == f"{RESOURCE}/.default"


@pytest.mark.behaviour
async def test_each_fetch_is_a_new_request_whatever_msal_remembers() -> None:
    """No token cache and no error cache: a refusal is forgotten at once."""
    entra = Entra(refusal("invalid_client"), granted(), granted(token="second"))
    asking = source(entra)
    with pytest.raises(AuthError):
        await asking.fetch()
    assert (await asking.fetch()).secret.get_secret_value() == TOKEN
    assert (await asking.fetch()).secret.get_secret_value() == "second"
    assert len(entra.forms) == 3


async def test_in_the_public_cloud_no_other_host_is_asked() -> None:
    """No instance discovery, two requests."""
    entra = Entra(authority="https://login.microsoftonline.com")
    application = EntraApplication(TENANT, "client-1", RESOURCE)
    await EntraSource(
        application, ClientSecret(lambda: SecretStr(SECRET)), httpx.MockTransport(entra)
    ).fetch()
    assert {request.url.host for request in entra.requests} == {"login.microsoftonline.com"}
    assert len(entra.requests) == 2


@pytest.mark.requirement("R48")
@pytest.mark.parametrize(
    ("error", "status", "aadsts"),
    [
        ("invalid_client", 401, 7000215),
        ("invalid_client", 401, 7000222),
        ("invalid_client", 401, 700027),
        ("unauthorized_client", 400, 700016),
        ("invalid_resource", 400, 500011),
        ("invalid_scope", 400, 70011),
        ("invalid_grant", 400, None),
        ("access_denied", 403, None),
    ],
)
async def test_refused_credentials_are_an_auth_error(
    error: str, status: int, aadsts: int | None
) -> None:
    """By OAuth's word; Entra's number comes along as a hint, its text does not."""
    with pytest.raises(AuthError) as caught:
        await source(Entra(refusal(error, status, aadsts=aadsts))).fetch()
    assert (caught.value.error, caught.value.aadsts) == (error, aadsts)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


async def test_an_unknown_tenant_is_an_auth_error() -> None:
    """Discovery says so."""
    entra = Entra()
    entra.discovery = refusal("invalid_tenant", aadsts=90002)
    with pytest.raises(AuthError) as caught:
        await source(entra).fetch()
    assert (caught.value.error, caught.value.aadsts) == ("invalid_tenant", 90002)


@pytest.mark.parametrize(
    ("fields", "lifetime_s"),
    [
        ({"expires_in": "3599"}, 3599),
        ({"expires_in": " 3599 "}, 3599),
        ({"expires_in": "3599.0"}, 3599),
        ({"expires_in": 3599.7, "ext_expires_in": "unknown"}, 3599),
        ({"expires_in": "3599", "expires_on": "1700000000"}, 3599),
        ({}, 600),
        ({"expires_in": None}, 600),
    ],
)
@pytest.mark.requirement("R23")
async def test_a_token_is_taken_however_its_lifetime_is_written(
    fields: dict[str, object], lifetime_s: float
) -> None:
    """As text, or not at all: RFC 6749 only recommends it."""
    answer = httpx.Response(200, json={"token_type": "Bearer", "access_token": TOKEN, **fields})
    grant = await source(Entra(answer)).fetch()
    assert (grant.secret.get_secret_value(), grant.lifetime_s) == (TOKEN, lifetime_s)


@pytest.mark.parametrize(
    ("answer", "lifetime_s"),
    [({"expires_on": "1090"}, 90.0), ({"expires_on": 1090}, 90.0), ({"expires_on": "900"}, None)],
)
def test_a_lifetime_may_be_told_by_its_end(
    answer: dict[str, object], lifetime_s: float | None
) -> None:
    """Epoch seconds, as managed identities write it."""
    assert lifetime_of(answer, 1_000.0) == lifetime_s


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(503, text="<html>canary</html>"),
        refusal("temporarily_unavailable", 400, aadsts=None),
        refusal("invalid_request", 400, aadsts=90033),
        refusal("invalid_client", 503),
        refusal("Not a word: canary", 400),
        httpx.Response(403, text="a proxy's page, canary"),
        httpx.Response(400, json=["canary"]),
        httpx.Response(400, json={"error": {"code": "canary"}}),
        httpx.Response(408),
        httpx.Response(302, headers={"Location": "https://elsewhere.example"}),
        httpx.Response(200, text='{"access_token":"canary-trunc'),
        httpx.Response(200, text="<html>canary</html>"),
        httpx.Response(200, json={"token_type": "Bearer"}),
        granted(lifetime=0),
        granted(lifetime=-5),
        granted(lifetime="soon"),
        granted(lifetime=True),
        granted(lifetime=1e300),
        httpx.Response(200, text='{"access_token":"canary","expires_in":NaN}'),
        httpx.Response(200, text='{"access_token":"canary","expires_in":1e999}'),
        httpx.Response(200, text='{"access_token":"canary","expires_on":-Infinity}'),
        granted(token=""),
        granted(token="two\r\nlines: canary"),
        granted(token=7),
        httpx.ConnectError("canary"),
        httpx.ReadTimeout("canary"),
        httpx.RemoteProtocolError("canary"),
    ],
    ids=range(28),
)
async def test_no_answer_from_the_endpoint_is_no_refusal(
    answer: httpx.Response | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Outages, throttling, HTML, truncated or senseless answers: to be tried again, and nothing of
    a body is kept or logged.
    """
    caplog.set_level(logging.DEBUG)
    with pytest.raises(HlfSyncError) as caught:
        await source(Entra(answer)).fetch()
    assert isinstance(caught.value, TokenUnavailableError)
    assert "canary" not in "".join(traceback.format_exception(caught.value)) + caplog.text


async def test_retry_after_of_the_endpoint_is_told() -> None:
    """429 with 60 s."""
    with pytest.raises(TokenUnavailableError) as caught:
        await source(Entra(refusal("temporarily_unavailable", 429, retry_after="60"))).fetch()
    assert caught.value.retry_after_s == 60.0


async def test_a_certificate_that_is_not_to_be_trusted_says_nothing_of_the_credentials() -> None:
    """Somebody in between never gets the secret; it is an endpoint that cannot be reached."""
    error = httpx.ConnectError("tls")
    error.__cause__ = ssl.SSLCertVerificationError(1, "self-signed")
    entra = Entra()
    entra.answers = [error]
    with pytest.raises(TokenUnavailableError, match="tls_invalid"):
        await source(entra).fetch()


@pytest.mark.requirement("R25")
@pytest.mark.parametrize(
    "elsewhere", ["https://elsewhere.example", "http://sts.example", "https://sts.example.evil"]
)
async def test_the_secret_goes_to_the_authority_only(elsewhere: str) -> None:
    """A discovery document that names another host, or plain http, is refused before anything is
    sent there.
    """
    entra = Entra()
    entra.authority = elsewhere
    with pytest.raises(AuthError):  # plain http is refused by msal itself, another https host by us
        await source(entra).fetch()
    assert entra.forms == []


async def test_a_discovery_document_without_an_endpoint_is_no_crash() -> None:
    """msal stumbles; we say so without its text."""
    entra = Entra()
    entra.discovery = httpx.Response(200, json={"issuer": "canary"})
    with pytest.raises(AuthError) as caught:
        await source(entra).fetch()
    assert "canary" not in "".join(traceback.format_exception(caught.value))


async def test_a_secret_is_read_anew_for_each_fetch() -> None:
    """And a change is noticed without asking the network."""
    current = ["first"]
    entra = Entra()
    asking = source(entra, ClientSecret(lambda: SecretStr(current[0])))
    await asking.fetch()
    assert not asking.has_changed()
    current[0] = "second"
    assert asking.has_changed()
    await asking.fetch()
    assert [form["client_secret"] for form in entra.forms] == ["first", "second"]


@pytest.mark.requirement("R48")
async def test_while_a_secrets_file_is_replaced_the_last_good_one_serves() -> None:
    """It is missing for the moment of a renewal: no refusal, and so no halt of everybody."""
    readable = [True]

    def read() -> SecretStr:
        if not readable[0]:
            message = (
                "HLF_SYNC_DYNAMICS_CLIENT_SECRET_FILE names a file that cannot be read:"
                " there is no such file"
            )
            raise SettingsError(message)
        return SecretStr(SECRET)

    entra = Entra()
    asking = source(entra, ClientSecret(read))
    readable[0] = False
    assert not asking.has_changed()
    await asking.fetch()
    assert [form["client_secret"] for form in entra.forms] == [SECRET]


def test_what_is_missing_is_refused_at_construction() -> None:
    """An empty secret, tenant or client, a plain http authority."""
    transport = httpx.MockTransport(Entra())
    with pytest.raises(SettingsError, match="CLIENT_SECRET"):
        credentials_for(
            APPLICATION, ClientSecret(lambda: SecretStr("")), transport, auth_retry_s=30
        )
    with pytest.raises(SettingsError, match="TENANT_ID"):
        EntraApplication("", "client", RESOURCE)
    with pytest.raises(SettingsError, match="CLIENT_ID"):
        EntraApplication(TENANT, "a/b", RESOURCE)
    with pytest.raises(SettingsError, match="AUTHORITY"):
        EntraApplication(TENANT, "client", RESOURCE, "http://sts.example")


@pytest.fixture(scope="module")
def pair() -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    """One pair for all certificate tests: making one takes a while."""
    return self_signed()


@pytest.fixture(params=["pem", "encrypted pem", "pfx"])
def key_file(
    request: pytest.FixtureRequest, tmp_path: Path, pair: tuple[rsa.RSAPrivateKey, x509.Certificate]
) -> ClientCertificate:
    """Key and certificate in each form of file."""
    path, password, (key, certificate) = tmp_path / "key", b"canary-password", pair
    if request.param == "pfx":
        encryption = serialization.BestAvailableEncryption(password)
        path.write_bytes(
            pkcs12.serialize_key_and_certificates(b"x", key, certificate, None, encryption)
        )
    else:
        path.write_bytes(
            certificate_pem(certificate) + pem_of(key, None if request.param == "pem" else password)
        )
    return ClientCertificate(
        path, lambda: None if request.param == "pem" else SecretStr(password.decode())
    )


async def test_a_certificate_signs_an_assertion_and_the_key_stays_here(
    key_file: ClientCertificate,
) -> None:
    """PEM, encrypted PEM, PFX."""
    entra = Entra()
    await source(entra, key_file).fetch()
    (form,) = entra.forms
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert form["client_assertion"].count(".") == 2
    assert "client_secret" not in form


async def test_a_certificate_with_the_wrong_password_is_a_refusal(
    key_file: ClientCertificate,
) -> None:
    """Not an outage: it does not heal by waiting."""
    wrong = ClientCertificate(key_file.path, lambda: SecretStr("canary-wrong"))
    with pytest.raises(AuthError) as caught:
        await source(Entra(), wrong).fetch()
    assert caught.value.error == "unusable_credentials"
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_a_certificate_file_must_hold_both_parts(tmp_path: Path) -> None:
    """At construction, naming the variable."""
    path = tmp_path / "key.pem"
    with pytest.raises(SettingsError, match="CLIENT_CERTIFICATE_FILE"):
        ClientCertificate(path).read()
    path.write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    with pytest.raises(SettingsError, match="private key"):
        ClientCertificate(path).read()


@pytest.mark.parametrize("client_id", [None, "client-2"])
async def test_a_managed_identity_needs_no_secret(
    client_id: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform's endpoint gives the token; plain http is right there."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:41234/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "header-1")
    asked: list[httpx.Request] = []

    def platform(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(
            200,
            json={
                "access_token": TOKEN,
                "expires_on": "4102444800",
                "resource": RESOURCE,
                "token_type": "Bearer",
            },
        )

    asking = ManagedIdentitySource(client_id, RESOURCE, httpx.MockTransport(platform))
    grant = await asking.fetch()
    assert grant.secret.get_secret_value() == TOKEN
    assert grant.lifetime_s > 0
    assert asked[0].url.params["resource"] == RESOURCE
    assert asked[0].headers["X-IDENTITY-HEADER"] == "header-1"
    assert asked[0].url.params.get("client_id") == client_id
    assert not asking.has_changed()


@pytest.mark.parametrize("ends", ['"soon"', "NaN", "1e999", "-5", '"-5"', "true", "[]"])
@pytest.mark.requirement("R48")
async def test_an_odd_end_of_a_managed_identitys_token_is_no_refusal(
    ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """msal makes an integer of it, stumbles, and everybody would be halted."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:41234/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "header-1")
    text = f'{{"access_token": "{TOKEN}", "expires_on": {ends}, "token_type": "Bearer"}}'
    platform = httpx.MockTransport(lambda _: httpx.Response(200, text=text))
    with pytest.raises(TokenUnavailableError):
        await ManagedIdentitySource(None, RESOURCE, platform).fetch()


async def test_an_identity_that_does_not_exist_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The instance metadata service says invalid_request."""
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IMDS_ENDPOINT", "MSI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    answer = httpx.Response(
        400, json={"error": "invalid_request", "error_description": "Identity not found"}
    )
    with pytest.raises(AuthError, match="invalid_request"):
        await ManagedIdentitySource(None, RESOURCE, httpx.MockTransport(lambda _: answer)).fetch()


async def test_a_challenge_reaches_msal() -> None:
    """Azure Arc's 401 is passed on where the platform may give one, and judged where not."""
    endpoint = TokenEndpoint(
        httpx.MockTransport(
            lambda _: httpx.Response(401, headers={"WWW-Authenticate": "Basic realm=/x"})
        ),
        asyncio.get_running_loop(),
        origin=None,
        challenge_statuses=frozenset({401}),
        now_s=0.0,
    )
    reply = await asyncio.to_thread(endpoint.get, "http://127.0.0.1/x")
    assert (reply.status_code, reply.text, reply.headers["www-authenticate"]) == (
        401,
        "",
        "Basic realm=/x",
    )
    reply.raise_for_status()
    endpoint.close()


async def test_a_fetch_that_nobody_waits_for_ends_quietly() -> None:
    """Cancelled after its two seconds: the thread finds nobody, and the late answer
    goes nowhere.
    """
    arrived, gate = asyncio.Event(), asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        arrived.set()
        await gate.wait()
        return Entra()(request)

    asking = EntraSource(
        APPLICATION, ClientSecret(lambda: SecretStr(SECRET)), httpx.MockTransport(slow)
    )
    task = asyncio.create_task(asking.fetch())
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    await asyncio.to_thread(_token_threads_end)
    await asyncio.sleep(0)


def test_a_loop_that_stopped_ends_the_thread() -> None:
    """A worker that goes down while msal waits for its answer."""
    loop = asyncio.new_event_loop()
    endpoint = TokenEndpoint(httpx.MockTransport(Entra()), loop, origin=STS, now_s=0.0)
    loop.close()
    with pytest.raises(TokenUnavailableError, match="stopped"):
        endpoint.get(f"{STS}/x")


@pytest.mark.requirement("R45")
async def test_no_secret_shows_in_what_is_printed(caplog: pytest.LogCaptureFixture) -> None:
    """Not in a repr, not in an error's traceback, not in any log at debug level."""
    caplog.set_level(logging.DEBUG)
    entra = Entra(refusal("invalid_client", 401), granted())
    credentials = credentials_for(
        APPLICATION,
        ClientSecret(lambda: SecretStr(SECRET)),
        httpx.MockTransport(entra),
        auth_retry_s=0.0,
    )
    with pytest.raises(AuthError) as caught:
        await credentials.token()
    token = await credentials.token()
    assert isinstance(token, AccessToken)
    printed = (
        f"{credentials!r} {vars(credentials)!r} {token!r}"
        f" {''.join(traceback.format_exception(caught.value))} {caplog.text}"
    )
    assert "canary" not in printed
    assert json.dumps(entra.forms).count(SECRET) == 2
    assert msal.__version__


def _token_threads_end() -> None:
    for thread in threading.enumerate():
        if thread.name == "token":
            thread.join(5.0)
