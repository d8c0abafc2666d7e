"""Credentials are rotated while calls go on, each kind, without one call that fails; over the
emulator as a process of its own, with msal and TLS.
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12
from hlf_sync import clients
from hlf_sync.config.loading import load
from hlf_sync.config.settings import Settings
from hlf_sync.core.model import ContactId, Operation
from hlf_sync.core.verdict import Course
from hlf_sync.errors import AuthError, SettingsError
from hlf_sync_sandbox.dynamics.control import DynamicsControl
from hlf_sync_sandbox.dynamics.launch import running_emulator

from tests.fixtures.certificates import certificate_pem, pem_of, self_signed
from tests.fixtures.dynamics import CONTACT

pytestmark = [pytest.mark.requirement("R62"), pytest.mark.requirement("R66")]

_ISSUER, _SUBJECT = "https://cluster.example.org", "system:serviceaccount:hlf:hlf-sync"
_AT_ONCE = 4


def federated_token(key: rsa.RSAPrivateKey, subject: str = _SUBJECT) -> str:
    """As a cluster gives its workload."""
    now_s = int(time.time())  # noqa: TID251 - the emulator's clock is this machine's
    claims = {
        "iss": _ISSUER,
        "sub": subject,
        "aud": "api://AzureADTokenExchange",
        "nbf": now_s,
        "exp": now_s + 600,
    }
    signed = f"{_part({'alg': 'RS256', 'typ': 'JWT'})}.{_part(claims)}"
    signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{_text(signature)}"


def _part(content: object) -> str:
    return _text(json.dumps(content).encode())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@dataclass
class Kind:
    """One kind of credentials: a file that holds it, what the settings say, and what Entra trusts."""

    control: DynamicsControl
    file: Path
    trusted: list[object] = field(default_factory=list)

    def issue(self) -> tuple[bytes, object]:
        """A new one: the file's content, and what Entra must know of it."""
        raise NotImplementedError

    def trust(self, things: list[object]) -> None:
        """Let Entra trust exactly these."""
        raise NotImplementedError

    def settings(self) -> dict[str, str]:
        """Where the file is."""
        raise NotImplementedError

    def replace(self, content: bytes) -> None:
        """In one step, as Kubernetes and any careful script do."""
        other = self.file.with_suffix(".new")
        other.write_bytes(content)
        other.replace(self.file)


class Secret(Kind):
    """A client secret in a file."""

    def issue(self) -> tuple[bytes, object]:
        secret = f"secret-{len(self.trusted)}-{time.monotonic_ns()}"
        return secret.encode(), secret

    def trust(self, things: list[object]) -> None:
        self.control.set_app(secrets=things)

    def settings(self) -> dict[str, str]:
        return {"DYNAMICS_CLIENT_SECRET_FILE": str(self.file)}


class Certificate(Kind):
    """Key and certificate in one PEM."""

    def issue(self) -> tuple[bytes, object]:
        key, certificate = self_signed()
        return pem_of(key) + certificate_pem(certificate), certificate_pem(certificate).decode()

    def trust(self, things: list[object]) -> None:
        self.control.set_app(certificates=things)

    def settings(self) -> dict[str, str]:
        return {"DYNAMICS_CLIENT_CERTIFICATE_FILE": str(self.file)}


class Federated(Kind):
    """A token of the platform's own identity provider."""

    def issue(self) -> tuple[bytes, object]:
        key, certificate = self_signed()
        trusted = {
            "issuer": _ISSUER,
            "subject": _SUBJECT,
            "certificate": certificate_pem(certificate).decode(),
        }
        return federated_token(key).encode(), trusted

    def trust(self, things: list[object]) -> None:
        self.control.set_app(federated=things)

    def settings(self) -> dict[str, str]:
        return {"DYNAMICS_FEDERATED_TOKEN_FILE": str(self.file)}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DynamicsControl]:
    """One emulator for the module; its tokens live eight seconds."""
    with running_emulator(tmp_path_factory.mktemp("dynamics")) as control:
        yield control


@pytest.fixture
async def control(running: DynamicsControl) -> AsyncIterator[DynamicsControl]:
    """The emulator as if new."""
    running.reset(contacts=True, journal=True)
    running.unlimited()
    running.token_settings(lifetime_s=8, refresh_in_s=None)
    running.put_contacts({CONTACT: True})
    yield running
    running.set_app(certificates=[], federated=[])
    running.reset()


def settings_of(control: DynamicsControl, more: dict[str, str]) -> tuple[Settings, Path | None]:
    """As a worker reads them; and the secret's file, where there is one."""
    found = control.settings
    values = {
        "DYNAMICS_BASE_URL": found["base_url"],
        "DYNAMICS_AUTHORITY": found["authority"],
        "DYNAMICS_TENANT_ID": found["tenant_id"],
        "DYNAMICS_CLIENT_ID": found["client_id"],
        "DYNAMICS_CA_FILE": found["ca_file"],
        **more,
    }
    secret = more.get("DYNAMICS_CLIENT_SECRET_FILE")
    settings = load(environ={f"HLF_SYNC_{name}": value for name, value in values.items()})
    return settings, Path(secret) if secret else None


@pytest.mark.parametrize("sort", [Secret, Certificate, Federated])
async def test_a_rotation_under_load_fails_no_call(
    control: DynamicsControl, tmp_path: Path, sort: type[Kind]
) -> None:
    """Three times: the new one is trusted beside the old one, our file is replaced, the old one is
    taken away at once. Tokens end meanwhile, so that each is really used.
    """
    kind = sort(control, tmp_path / "credential")
    content, known = kind.issue()
    kind.replace(content)
    kind.trust([known])
    settings, secret = settings_of(control, kind.settings())
    settings.require_credentials()
    transport = clients.open_dynamics_transport(settings, _AT_ONCE)
    credentials = clients.dynamics_credentials(settings, secret, transport)
    client = clients.dynamics_client(settings, credentials, transport)
    answers: list[Course] = []
    is_over = asyncio.Event()

    async def load() -> None:
        while not is_over.is_set():
            result = await client.call(ContactId(CONTACT), Operation.REMOVE)
            answers.append(result.verdict.course)

    callers = [asyncio.create_task(load()) for _ in range(_AT_ONCE)]
    try:
        for _ in range(3):
            content, new = await asyncio.to_thread(kind.issue)
            kind.trust([known, new])
            kind.replace(content)
            kind.trust([new])
            known, issued = new, control.status()["tokens_issued"]
            async with asyncio.timeout(30):
                while control.status()["tokens_issued"] == issued:
                    await asyncio.sleep(0.05)
    finally:
        is_over.set()
        await asyncio.gather(*callers)
        await client.aclose()
    assert len(answers) > 30
    assert set(answers) == {Course.DONE}


@pytest.mark.requirement("R23")
async def test_a_federated_token_of_somebody_else_is_refused(
    control: DynamicsControl, tmp_path: Path
) -> None:
    key, certificate = self_signed()
    pem = certificate_pem(certificate).decode()
    control.set_app(federated=[{"issuer": _ISSUER, "subject": _SUBJECT, "certificate": pem}])
    file = tmp_path / "token"
    file.write_text(federated_token(key, "system:serviceaccount:other:other"))
    settings, _ = settings_of(control, {"DYNAMICS_FEDERATED_TOKEN_FILE": str(file)})
    transport = clients.open_dynamics_transport(settings, 1)
    credentials = clients.dynamics_credentials(settings, None, transport)
    try:
        with pytest.raises(AuthError):
            await credentials.prove(0.0)
        file.write_text(federated_token(key))
        await credentials.prove(0.0)  # at once, because the file has changed
    finally:
        await credentials.aclose()
        await transport.aclose()


@pytest.mark.requirement("R23")
@pytest.mark.parametrize("content", [None, b"", b"two words", b"\xff\xfe"])
def test_a_federated_token_file_without_a_token_is_said_at_the_start(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    values = {
        "DYNAMICS_BASE_URL": "https://dynamics.invalid",
        "DYNAMICS_TENANT_ID": "t",
        "DYNAMICS_CLIENT_ID": "c",
        "DYNAMICS_FEDERATED_TOKEN_FILE": str(file),
    }
    settings = load(environ={f"HLF_SYNC_{name}": value for name, value in values.items()})
    with pytest.raises(SettingsError, match="DYNAMICS_FEDERATED_TOKEN_FILE"):
        clients.dynamics_credentials(settings, None, None)  # type: ignore[arg-type]


def days_left(**values: str) -> float | None:
    """As the settings say, on the first of January 2030."""
    base = {"DYNAMICS_BASE_URL": "https://dynamics.invalid", "DYNAMICS_TENANT_ID": "t"}
    environ = {f"HLF_SYNC_{name}": value for name, value in {**base, **values}.items()}
    now_s = datetime(2030, 1, 1, tzinfo=UTC).timestamp()
    return clients.credential_days_left(load(environ=environ), now_s)


def test_the_days_until_a_certificate_ends_are_read_from_its_file(tmp_path: Path) -> None:
    """PEM and PFX alike; what cannot be read has no end that we know."""
    key, certificate = self_signed()
    expected = (certificate.not_valid_after_utc - datetime(2030, 1, 1, tzinfo=UTC)).days
    pem, pfx, odd = (tmp_path / name for name in ("a.pem", "a.pfx", "odd"))
    pem.write_bytes(pem_of(key) + certificate_pem(certificate))
    pfx.write_bytes(
        pkcs12.serialize_key_and_certificates(b"x", key, certificate, None, NoEncryption())
    )
    odd.write_bytes(b"-----BEGIN nothing")
    for file in (pem, pfx):
        assert days_left(DYNAMICS_CLIENT_CERTIFICATE_FILE=str(file)) == expected
    for file in (odd, tmp_path / "missing"):
        assert days_left(DYNAMICS_CLIENT_CERTIFICATE_FILE=str(file)) is None


def test_the_end_of_a_secret_is_known_where_the_settings_say_it() -> None:
    secret = {"DYNAMICS_CLIENT_SECRET": "s"}
    assert days_left(**secret) is None
    assert days_left(**secret, DYNAMICS_CLIENT_SECRET_ENDS="2030-02-01") == 31.0
    assert days_left(**secret, DYNAMICS_CLIENT_SECRET_ENDS="2029-12-31") == -1.0
    assert days_left(DYNAMICS_MANAGED_IDENTITY="true") is None
