"""The Dynamics client as a whole - contract, credentials, msal, transport, TLS - over the emulator
as a process of its own.

The same facts that the rooms' tests state over `MockTransport`, where a fake could drift from the
service.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from hlf_sync.config.settings import Settings
from hlf_sync.core.model import ContactId, ErrorCode, Operation, Visibility
from hlf_sync.core.verdict import CODES, Course, Effect
from hlf_sync.doctor import dynamics as doctor_dynamics
from hlf_sync.doctor.clocks import Clocks
from hlf_sync.dynamics.auth.credentials import RenewingCredentials, TokenUnavailableError
from hlf_sync.dynamics.auth.entra import (
    ClientCertificate,
    ClientSecret,
    EntraApplication,
    Key,
    ManagedIdentitySource,
    credentials_for,
)
from hlf_sync.dynamics.client import DynamicsClient
from hlf_sync.dynamics.contract import DynamicsContract
from hlf_sync.dynamics.http.transport import open_transport
from hlf_sync.errors import AuthError
from hlf_sync_sandbox.dynamics.control import DynamicsControl
from hlf_sync_sandbox.dynamics.launch import running_emulator
from pydantic import SecretStr

from tests.fixtures.certificates import certificate_pem, pem_of, self_signed
from tests.fixtures.dynamics import CONTACT, MISSING, VISIBILITY

HERE, NOT_HERE = ContactId(CONTACT), ContactId(MISSING)
TIMEOUT_S = 0.6


class Rig:
    """A client of the emulator, whose secret a test may change."""

    def __init__(self, control: DynamicsControl) -> None:
        settings = control.settings
        self.control = control
        self.secret = str(settings["client_secret"])
        self.transport = open_transport(
            ca_file=Path(settings["ca_file"]), connections=16, request_timeout_s=TIMEOUT_S
        )
        self.application = EntraApplication(
            settings["tenant_id"],
            settings["client_id"],
            settings["base_url"],
            settings["authority"],
        )
        self.credentials = self.sign_in(ClientSecret(lambda: SecretStr(self.secret)))
        self.client = self.client_of(self.credentials)

    def sign_in(self, key: Key) -> RenewingCredentials:
        """Credentials with that key."""
        return credentials_for(self.application, key, self.transport, auth_retry_s=30.0)

    def client_of(self, credentials: RenewingCredentials) -> DynamicsClient:
        """A client with those credentials."""
        return DynamicsClient(
            DynamicsContract(self.application.resource),
            credentials,
            self.transport,
            request_timeout_s=TIMEOUT_S,
        )

    @property
    def shown(self) -> bool | None:
        """What the contact's column says."""
        return self.control.contacts()[CONTACT]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DynamicsControl]:
    """One emulator for the module."""
    with running_emulator(tmp_path_factory.mktemp("dynamics")) as control:
        yield control


@pytest.fixture
async def rig(running: DynamicsControl) -> AsyncIterator[Rig]:
    """The emulator as if new, one visible contact, and a client."""
    running.reset(contacts=True, journal=True)
    running.token_settings(lifetime_s=3599, refresh_in_s=None)
    running.put_contacts({CONTACT: True})
    rig = Rig(running)
    yield rig
    await rig.client.aclose()
    running.reset()


@pytest.mark.requirement("R20")
async def test_remove_and_restore_are_applied(rig: Rig) -> None:
    """And read back."""
    removed = await rig.client.call(HERE, Operation.REMOVE)
    assert (removed.verdict.course, rig.shown) == (Course.DONE, False)
    assert (await rig.client.read_visibility(HERE)).visibility is Visibility.HIDDEN
    await rig.client.call(HERE, Operation.RESTORE)
    assert (rig.shown, (await rig.client.read_visibility(HERE)).visibility) == (
        True,
        Visibility.VISIBLE,
    )
    assert (await rig.client.who_am_i()).verdict.course is Course.DONE


@pytest.mark.requirement("R22")
async def test_an_unknown_contact_is_never_created(rig: Rig) -> None:
    """404 instead of an upsert."""
    result = await rig.client.call(NOT_HERE, Operation.REMOVE)
    assert (result.verdict.course, result.verdict.error_code) == (
        Course.REJECTED,
        ErrorCode.NOT_FOUND,
    )
    assert MISSING not in rig.control.contacts()


@pytest.mark.requirement("R24")
@pytest.mark.requirement("R45")
async def test_the_journal_of_the_service_holds_the_allowed_requests_only(rig: Rig) -> None:
    """One column, If-Match, a fresh id per attempt in both headers, no cookie although one is
    offered at every answer.
    """
    for operation in (Operation.REMOVE, Operation.RESTORE, Operation.REMOVE):
        await rig.client.call(HERE, operation)
    entries = rig.control.journal(kind="api")
    assert [entry["columns"] for entry in entries] == [
        {VISIBILITY: value} for value in (False, True, False)
    ]
    assert {
        (entry["method"], entry["if_match"], entry["has_cookie"], entry["prefer"])
        for entry in entries
    } == {("PATCH", "*", False, None)}
    assert all(entry["x_correlation_id"] == entry["x_ms_client_request_id"] for entry in entries)
    assert len({entry["x_correlation_id"] for entry in entries}) == 3
    allowed = (
        "accept accept-encoding authorization content-length content-type host if-match"
        " odata-maxversion odata-version user-agent"
    )
    assert {tuple(sorted(entry["header_names"])) for entry in entries} == {
        (*allowed.split(), "x-correlation-id", "x-ms-client-request-id")
    }
    assert len({entry["connection"] for entry in rig.control.journal()}) == 1


EXPECTED = {
    "pass": (Course.DONE, None, Effect.APPLIED),
    "server-error": (Course.RETRY, ErrorCode.SERVER_ERROR, Effect.UNKNOWN),
    "unavailable": (Course.RETRY, ErrorCode.SERVER_ERROR, Effect.UNKNOWN),
    "bad-gateway": (Course.RETRY, ErrorCode.SERVER_ERROR, Effect.MAY_COME_LATE),
    "gateway-timeout": (Course.RETRY, ErrorCode.SERVER_ERROR, Effect.MAY_COME_LATE),
    "late-effect": (Course.RETRY, ErrorCode.SERVER_ERROR, Effect.MAY_COME_LATE),
    "request-timeout": (Course.RETRY, ErrorCode.NETWORK_ERROR, Effect.NONE),
    "throttled": (Course.THROTTLED, ErrorCode.RATE_LIMITED, Effect.NONE),
    "throttled-time": (Course.THROTTLED, ErrorCode.RATE_LIMITED, Effect.NONE),
    "throttled-concurrency": (Course.THROTTLED, ErrorCode.RATE_LIMITED, Effect.NONE),
    "decimal-code": (Course.THROTTLED, ErrorCode.RATE_LIMITED, Effect.NONE),
    "unauthorized": (Course.DONE, None, Effect.APPLIED),
    "forbidden": (Course.REJECTED, ErrorCode.REJECTED, Effect.NONE),
    "not-found": (Course.REJECTED, ErrorCode.NOT_FOUND, Effect.NONE),
    "empty-code": (Course.REJECTED, ErrorCode.NOT_FOUND, Effect.NONE),
    "conflict": (Course.REJECTED, ErrorCode.REJECTED, Effect.NONE),
    "no-envelope": (Course.REJECTED, ErrorCode.REJECTED, Effect.NONE),
    "redirect": (Course.REJECTED, ErrorCode.REJECTED, Effect.NONE),
    "plug-in-refused": (Course.REJECTED, ErrorCode.REJECTED, Effect.NONE),
    "duplicate": (Course.REJECTED, ErrorCode.REJECTED, Effect.UNKNOWN),
    "plug-in-crashed": (Course.REJECTED, ErrorCode.REJECTED, Effect.UNKNOWN),
    "sql-error": (Course.RETRY, ErrorCode.SERVER_ERROR, Effect.UNKNOWN),
    "sql-timeout": (Course.RETRY, ErrorCode.SERVER_ERROR, Effect.UNKNOWN),
    "gzip": (Course.RETRY, ErrorCode.SERVER_ERROR, Effect.UNKNOWN),
    "broken-gzip": (Course.RETRY, ErrorCode.SERVER_ERROR, Effect.UNKNOWN),
    "truncated-json": (Course.RETRY, ErrorCode.SERVER_ERROR, Effect.UNKNOWN),
    "reset-before": (Course.RETRY, ErrorCode.NETWORK_ERROR, Effect.MAY_COME_LATE),
    "reset-after": (Course.RETRY, ErrorCode.NETWORK_ERROR, Effect.MAY_COME_LATE),
    "answer-lost": (Course.RETRY, ErrorCode.NETWORK_ERROR, Effect.MAY_COME_LATE),
    "late-after-close": (Course.RETRY, ErrorCode.NETWORK_ERROR, Effect.MAY_COME_LATE),
    "half-answer": (Course.RETRY, ErrorCode.NETWORK_ERROR, Effect.MAY_COME_LATE),
    "garbage": (Course.RETRY, ErrorCode.NETWORK_ERROR, Effect.MAY_COME_LATE),
    "slow-loris": (Course.RETRY, ErrorCode.NETWORK_ERROR, Effect.MAY_COME_LATE),
    "hang": (Course.RETRY, ErrorCode.NETWORK_ERROR, Effect.MAY_COME_LATE),
    "hang-applied": (Course.RETRY, ErrorCode.NETWORK_ERROR, Effect.MAY_COME_LATE),
    "stale-connection": (Course.DONE, None, Effect.APPLIED),
}


@pytest.mark.requirement("R26")
@pytest.mark.requirement("R28")
@pytest.mark.parametrize("preset", EXPECTED)
async def test_every_fault_of_the_service_has_its_verdict(rig: Rig, preset: str) -> None:
    """And afterwards the client works as before; at most one more call meets a connection that is
    closed at that moment.
    """
    rig.control.script([preset])
    verdict = (await rig.client.call(HERE, Operation.REMOVE)).verdict
    assert (verdict.course, verdict.error_code, verdict.effect) == EXPECTED[preset]
    rig.control.clear_faults()
    later = [(await rig.client.call(HERE, Operation.RESTORE)).verdict.course for _ in range(3)]
    assert later[1:] == [Course.DONE, Course.DONE]


@pytest.mark.requirement("R26")
@pytest.mark.parametrize("code", CODES)
async def test_every_code_on_the_wire_has_its_course(rig: Rig, code: int) -> None:
    """In hexadecimal as the service writes it, with the status that comes with it."""
    expected = CODES[code][1].course
    rig.control.fault(
        code=f"0x{code:08x}", status=None if code in {0x80040217, 0x80072322} else 400, times=2
    )
    verdict = (await rig.client.call(HERE, Operation.REMOVE)).verdict
    assert verdict.course is (Course.HALT if expected is Course.RENEW_TOKEN else expected)


@pytest.mark.requirement("R27")
@pytest.mark.parametrize(
    ("header", "seconds"),
    [(17, 17.0), ("2.5", 2.5), ("-3", None), ("1000000000", 3600.0), ("soon", None)],
)
async def test_retry_after_is_bounded(rig: Rig, header: str | float, seconds: float | None) -> None:
    """Seconds, fractions, absurd ones."""
    rig.control.fault("throttled", retry_after=header)
    assert (await rig.client.call(HERE, Operation.REMOVE)).verdict.retry_after_s == seconds


@pytest.mark.requirement("R48")
@pytest.mark.parametrize(
    "switch", [{"app_user": False}, {"can_write": False}, {"column_secured": True}]
)
async def test_a_missing_privilege_halts(rig: Rig, switch: dict[str, bool]) -> None:
    """Every contact would fail, none is at fault; switched on again, calls go on."""
    rig.control.switches(**switch)
    verdict = (await rig.client.call(HERE, Operation.REMOVE)).verdict
    assert (verdict.course, verdict.error_code, rig.shown) == (
        Course.HALT,
        ErrorCode.AUTH_FAILURE,
        True,
    )
    rig.control.reset()
    assert (await rig.client.call(HERE, Operation.REMOVE)).verdict.course is Course.DONE


@pytest.mark.requirement("R26")
async def test_a_revoked_token_is_renewed_once_for_all_callers(rig: Rig) -> None:
    """Sixteen calls in flight, one new token."""
    await rig.client.call(HERE, Operation.REMOVE)
    rig.control.revoke_tokens()
    since = rig.control.last_seq()
    results = await asyncio.gather(*(rig.client.call(HERE, Operation.RESTORE) for _ in range(16)))
    assert {result.verdict.course for result in results} == {Course.DONE}
    assert len(rig.control.journal(since, kind="token")) == 1


@pytest.mark.requirement("R48")
async def test_a_wrong_secret_halts_before_any_call_and_a_new_one_heals(rig: Rig) -> None:
    """No request to Dynamics, no restart, no wait once the secret is replaced."""
    good, rig.secret = rig.secret, "wrong"
    verdict = (await rig.client.call(HERE, Operation.REMOVE)).verdict
    assert (verdict.course, verdict.error_code) == (Course.HALT, ErrorCode.AUTH_FAILURE)
    assert isinstance(rig.credentials.trouble, AuthError)
    assert (rig.credentials.trouble.error, rig.credentials.trouble.aadsts) == (
        "invalid_client",
        7000215,
    )
    asked = len(rig.control.journal())
    assert (await rig.client.call(HERE, Operation.REMOVE)).verdict.course is Course.HALT
    assert len(rig.control.journal()) == asked
    assert rig.control.journal(kind="api") == []
    rig.secret = good
    assert (await rig.client.call(HERE, Operation.REMOVE)).verdict.course is Course.DONE


@pytest.mark.requirement("R23")
@pytest.mark.parametrize(
    "preset", ["token-throttled", "token-unavailable", "token-slow", "token-hang"]
)
async def test_a_token_endpoint_that_is_away_postpones(rig: Rig, preset: str) -> None:
    """Throttled, 503, slower than 2 s, silent: a network_error, no call, no attempt."""
    rig.control.fault(preset)
    result = await rig.client.call(HERE, Operation.REMOVE)
    assert (result.verdict.course, result.verdict.error_code) == (
        Course.POSTPONED,
        ErrorCode.NETWORK_ERROR,
    )
    assert result.duration_ms < 2_500
    assert isinstance(rig.credentials.trouble, TokenUnavailableError)
    assert result.verdict.retry_after_s == pytest.approx(
        60.0 if preset == "token-throttled" else 1.0, abs=0.1
    )
    assert rig.control.journal(kind="api") == []


@pytest.mark.requirement("R23")
async def test_with_a_live_token_an_outage_of_the_endpoint_harms_nobody(rig: Rig) -> None:
    """Also when it is past half of its life and a renewal fails at every try."""
    rig.control.token_settings(lifetime_s=3)
    await rig.client.call(HERE, Operation.REMOVE)
    rig.control.outage(mode="503", api=False, token=True)
    async with asyncio.timeout(5):
        while rig.credentials.expires_in_s > 1.4:
            await asyncio.sleep(0.02)
    assert (await rig.client.call(HERE, Operation.RESTORE)).verdict.course is Course.DONE
    assert (await rig.client.call(HERE, Operation.REMOVE)).verdict.course is Course.DONE
    rig.control.end_outage()


@pytest.mark.requirement("R29")
async def test_a_closed_port_is_not_sent(rig: Rig) -> None:
    """Connection refused: no effect, a breaker failure; afterwards it goes on without a restart."""
    await rig.client.call(HERE, Operation.RESTORE)
    rig.control.outage(mode="refuse")
    verdicts = [(await rig.client.call(HERE, Operation.REMOVE)).verdict for _ in range(3)]
    assert {(verdict.course, verdict.is_breaker_failure) for verdict in verdicts} == {
        (Course.RETRY, True)
    }
    assert (
        verdicts[-1].effect is Effect.NONE
    )  # the first may meet the idle connection that is closed at that moment
    rig.control.end_outage()
    async with asyncio.timeout(10):  # the port opens a moment later
        while (await rig.client.call(HERE, Operation.REMOVE)).verdict.course is not Course.DONE:
            await asyncio.sleep(0.01)


async def test_a_certificate_signs_in(rig: Rig, tmp_path: Path) -> None:
    """The assertion is accepted where its certificate is registered; the wrong one is refused."""
    path = tmp_path / "key.pem"
    (key, certificate), (other_key, other_certificate) = self_signed(), self_signed()
    path.write_bytes(pem_of(key) + certificate_pem(certificate))
    rig.control.set_app(certificate=certificate_pem(certificate).decode())
    credentials = rig.sign_in(ClientCertificate(path))
    assert (
        await rig.client_of(credentials).call(HERE, Operation.REMOVE)
    ).verdict.course is Course.DONE
    path.write_bytes(pem_of(other_key) + certificate_pem(other_certificate))
    other = rig.sign_in(ClientCertificate(path))
    assert (await rig.client_of(other).call(HERE, Operation.REMOVE)).verdict.course is Course.HALT


async def test_a_managed_identity_signs_in(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the endpoint that the platform's environment names."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", rig.control.settings["identity_endpoint"])
    monkeypatch.setenv("IDENTITY_HEADER", rig.control.settings["identity_header"])
    credentials = RenewingCredentials(
        ManagedIdentitySource(None, rig.application.resource, rig.transport)
    )
    assert (
        await rig.client_of(credentials).call(HERE, Operation.REMOVE)
    ).verdict.course is Course.DONE


async def test_without_the_ca_file_nothing_is_sent(rig: Rig) -> None:
    """The token endpoint's certificate is not to be trusted: said with its reason, and no halt of
    the credentials.
    """
    transport = open_transport(ca_file=None, connections=1, request_timeout_s=TIMEOUT_S)
    credentials = credentials_for(
        rig.application, ClientSecret(lambda: SecretStr("x")), transport, auth_retry_s=30.0
    )
    client = DynamicsClient(DynamicsContract(rig.application.resource), credentials, transport)
    assert (await client.call(HERE, Operation.REMOVE)).verdict.course is Course.POSTPONED
    assert isinstance(credentials.trouble, TokenUnavailableError)
    assert transport.certificate_trouble is not None
    assert "127.0.0.1: " in transport.certificate_trouble
    await client.aclose()


async def test_the_client_of_httpx_serves_as_well(rig: Rig) -> None:
    """The seam is httpx's own: another transport of httpx does the same job, only slower."""
    context = ssl.create_default_context(cafile=rig.control.settings["ca_file"])
    transport = httpx.AsyncHTTPTransport(verify=context, trust_env=False)
    client = DynamicsClient(DynamicsContract(rig.application.resource), rig.credentials, transport)
    assert (await client.call(HERE, Operation.REMOVE)).verdict.course is Course.DONE
    assert rig.shown is False
    await transport.aclose()


@pytest.mark.requirement("R63")
async def test_the_listing_comes_in_pages_of_five_thousand(rig: Rig) -> None:
    """12,000 contacts, every second one shown: two pages, and each shown contact once."""
    ids = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(12_000)]
    rig.control.put_contacts({CONTACT: False} | {one: bool(n % 2) for n, one in enumerate(ids)})
    read = await rig.client.read_listing()
    pages = [read.page]
    while (page := pages[-1]) is not None and page.next_address is not None:
        assert rig.client.is_next_page(page.next_address)
        pages.append((await rig.client.read_listing(page.next_address)).page)
    contacts = [one for page in pages if page is not None for one in page.contacts]
    assert [len(page.contacts) for page in pages if page is not None] == [5000, 1000]
    assert contacts == ids[1::2]
    assert pages[0] is not None
    assert pages[0].count == 5000
    assert {entry["method"] for entry in rig.control.journal(kind="api")} == {"GET"}


@pytest.mark.requirement("R63")
async def test_without_the_right_to_read_the_listing_says_which_is_missing(rig: Rig) -> None:
    """prvReadContact, by its code."""
    rig.control.switches(can_read=False)
    read = await rig.client.read_listing()
    assert (read.page, read.result.verdict.code) == (None, 0x80040220)


@pytest.mark.requirement("R81")
async def test_doctor_tells_a_certificate_from_credentials(rig: Rig) -> None:
    """Whose certificate, why, and what to do; not a word about the secret."""
    settings = Settings.model_validate(
        {
            "dynamics_base_url": rig.application.resource,
            "dynamics_authority": rig.application.authority,
            "dynamics_tenant_id": rig.application.tenant_id,
            "dynamics_client_id": rig.application.client_id,
            "dynamics_client_secret": rig.secret,
        }
    )
    look = doctor_dynamics.examination(settings, None, Clocks()).look
    findings = [finding async for finding in look()]
    told = [one for one in findings if one.text.startswith("certificate not trusted: 127.0.0.1: ")]
    assert "HLF_SYNC_DYNAMICS_CA_FILE" in told[0].fix
    trusted = settings.model_copy(
        update={"dynamics_ca_file": Path(rig.control.settings["ca_file"])}
    )
    look = doctor_dynamics.examination(trusted, None, Clocks()).look
    assert {finding.fix async for finding in look()} == {""}
