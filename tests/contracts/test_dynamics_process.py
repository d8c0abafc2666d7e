"""The emulator as a process: what outlives it, how it ends, and that MSAL and curl-like clients get
along with it.
"""

import base64
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import httpx
import msal
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from hlf_sync_sandbox.dynamics.cli import app
from hlf_sync_sandbox.dynamics.clock import utc_now
from hlf_sync_sandbox.dynamics.control import ControlError, DynamicsControl
from hlf_sync_sandbox.dynamics.launch import (
    running_emulator,
    start_emulator,
    stop,
    wait_until_ready,
)
from typer.testing import CliRunner, Result

from tests.fixtures.dynamics import CONTACT, VISIBILITY, emulated


def test_contacts_port_secret_and_tokens_outlive_a_killed_process(tmp_path: Path) -> None:
    """kill -9 after an answer: what was answered is there, and the same token still works."""
    with (tmp_path / "out").open("w+b") as output:
        process = start_emulator(tmp_path, output=output)
        before = wait_until_ready(process, tmp_path, output)
        before.put_contacts({CONTACT: True})
        organization = emulated(before)
        assert organization.patch(CONTACT).status_code == 204
        version, last = before.rows(CONTACT)[0]["version"], before.last_seq()
        process.kill()
        process.wait()
    with running_emulator(tmp_path) as after:
        assert after.settings["base_url"] == before.settings["base_url"]
        assert after.settings["client_secret"] == before.settings["client_secret"]
        assert after.contacts() == {CONTACT: False}
        assert after.rows(CONTACT)[0]["version"] == version
        assert organization.patch(CONTACT, {VISIBILITY: True}).status_code == 204
        assert after.rows(CONTACT)[0]["version"] > version
        assert after.last_seq() == last + 1
    organization.client.close()


def test_a_torn_log_loses_only_its_last_line(tmp_path: Path) -> None:
    """A process killed in the middle of a write."""
    with running_emulator(tmp_path) as control:
        control.put_contacts({CONTACT: True})
    with (tmp_path / "dynamics-contacts.log").open("ab") as log:
        log.write(b'["6f1a1f3c-0000-4000-8000-0000000000aa",7,1,')
    with running_emulator(tmp_path) as control:
        assert control.contacts() == {CONTACT: True}


def test_sigterm_ends_it_cleanly_even_with_requests_under_way(tmp_path: Path) -> None:
    """Exit code 0, no dynamics.json left, nothing said."""
    with (tmp_path / "out").open("w+b") as output:
        process = start_emulator(tmp_path, output=output)
        control = wait_until_ready(process, tmp_path, output)
        control.put_contacts({CONTACT: True})
        control.hold("for ever")
        organization = emulated(control)
        with (
            httpx.Client(verify=organization.verify, timeout=0.3) as hasty,
            pytest.raises(httpx.ReadTimeout),
        ):
            hasty.patch(
                f"{organization.base_url}/api/data/v9.2/contacts({CONTACT})",
                json={},
                headers=organization.headers(),
            )
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        output.seek(0)
        assert output.read() == b""
    assert not (tmp_path / "dynamics.json").exists()
    organization.client.close()
    with pytest.raises(ControlError, match=r"dynamics\.json"):
        DynamicsControl(tmp_path)


def test_a_second_start_says_so_and_exits_2(tmp_path: Path) -> None:
    """One process per state directory; the first is not disturbed."""
    with running_emulator(tmp_path) as control:
        second = subprocess.run(
            [sys.executable, "-m", "hlf_sync_sandbox.dynamics", "--state", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert second.returncode == 2
        assert f"already runs on {tmp_path} (pid {control.settings['pid']})" in second.stderr
        assert control.contacts() == {}


def test_a_taken_port_is_named_and_exits_2(tmp_path: Path) -> None:
    """No traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "hlf_sync_sandbox.dynamics",
            "--state",
            str(tmp_path),
            "--port",
            str(port),
        ]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
    assert f"port {port}" in ended.stderr


def test_the_emulator_without_journal_file_writes_none(tmp_path: Path) -> None:
    """For benchmarks."""
    with running_emulator(tmp_path, "--no-journal-file", "--no-limits") as control:
        assert control.settings["journal_file"] is None
        assert control.status()["limits"]["requests"] is None
    assert not (tmp_path / "journal.jsonl").exists()


class _Client(httpx.Client):
    """MSAL hands the assertion over as bytes, which httpx would send as `b'…'`: a certificate never
    works without this.
    """

    def post(self, url: str, *, data: dict[str, object], **options: Any) -> httpx.Response:  # type: ignore[override]  # as MSAL calls it
        return super().post(
            url,
            data={
                name: value.decode() if isinstance(value, bytes) else value
                for name, value in data.items()
            },
            **options,
        )


def _msal(control: DynamicsControl, credential: object) -> dict[str, object]:
    settings = control.settings
    context = ssl.create_default_context(cafile=settings["ca_file"])
    with _Client(verify=context, timeout=10, trust_env=False) as client:
        application = msal.ConfidentialClientApplication(
            settings["client_id"],
            client_credential=credential,
            authority=f"{settings['authority']}/{settings['tenant_id']}",
            instance_discovery=False,
            http_client=client,
        )
        answer: dict[str, object] = application.acquire_token_for_client(
            [f"{settings['base_url']}/.default"]
        )
    return answer


def _certificate() -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hlf-sync")])
    certificate = (
        x509.CertificateBuilder(
            name,
            name,
            key.public_key(),
            x509.random_serial_number(),
            utc_now(),
            utc_now() + timedelta(days=1),
        )
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.decode(), pem.decode()


@pytest.mark.requirement("R23")
def test_msal_gets_tokens_by_secret_by_certificate_and_by_managed_identity(tmp_path: Path) -> None:
    """The library that production uses, unchanged; an unknown certificate is refused."""
    with running_emulator(tmp_path) as control:
        assert "access_token" in _msal(control, control.settings["client_secret"])
        assert _msal(control, "wrong")["error_codes"] == [7000215]
        public, private = _certificate()
        credential = {"private_key": private, "public_certificate": public}
        assert _msal(control, credential)["error_codes"] == [700027]
        control.set_app(certificate=public)
        assert "access_token" in _msal(control, credential)
        url = f"{control.settings['identity_endpoint']}?api-version=2019-08-01&resource={control.settings['base_url']}"
        asked = Request(url, headers={"X-IDENTITY-HEADER": control.settings["identity_header"]})  # noqa: S310 - our own port
        with urlopen(asked, timeout=5) as answer:  # noqa: S310 - our own port
            token = json.load(answer)["access_token"]
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        assert claims["aud"] == control.settings["base_url"]


def test_private_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    """Keys, secrets, and the file that names them."""
    with running_emulator(tmp_path):
        for name in (
            "dynamics.json",
            "dynamics-identity.json",
            "dynamics-ca.key",
            "dynamics-leaf.key",
        ):
            assert (tmp_path / name).stat().st_mode & 0o077 == 0


def test_the_commands_steer_a_running_emulator(tmp_path: Path) -> None:
    """`hlf-sync sandbox dynamics …`; without an emulator one line and exit code 2."""

    def run(*arguments: str, stdin: str = "") -> Result:
        return CliRunner().invoke(
            app, arguments, input=stdin, env={"HLF_SYNC_SANDBOX_STATE": str(tmp_path)}
        )

    absent = run("contacts")
    assert (absent.exit_code, len(absent.stderr.strip().splitlines())) == (2, 1)
    with running_emulator(tmp_path) as control:
        organization = emulated(control)
        assert run("set", CONTACT, "visible").exit_code == 0
        assert json.loads(run("contacts", "--json").stdout) == {CONTACT: True}
        assert (
            run(
                "faults",
                "script",
                "-",
                stdin='["unavailable", {"preset": "throttled", "retry_after": 9}]',
            ).exit_code
            == 0
        )
        answers = [organization.patch(CONTACT) for _ in range(2)]
        assert [(answer.status_code, answer.headers.get("retry-after")) for answer in answers] == [
            (503, None),
            (429, "9"),
        ]
        assert [
            entry["status"] for entry in json.loads(run("journal", "--tail", "2", "--json").stdout)
        ] == [503, 429]
        assert (
            run(
                "faults",
                "add",
                "throttled",
                "--contact",
                CONTACT,
                "--set",
                "retry_after=3",
                "--forever",
            ).exit_code
            == 0
        )
        assert organization.patch(CONTACT).headers["retry-after"] == "3"
        assert run("reset").exit_code == 0
        assert json.loads(run("switches", "can_write=off").stdout)["can_write"] is False
        assert organization.patch(CONTACT).status_code == 403
        assert json.loads(run("limits", "--requests", "7").stdout)["requests"] == 7
        assert run("latency", "uniform:1ms:2ms").exit_code == 0
        assert run("outage", "on", "--seconds", "60").exit_code == 0
        assert organization.patch(CONTACT).status_code == 503
        assert run("outage", "off").exit_code == 0
        assert run("latency", "sideways").exit_code == 2
        assert run("switches", "nosuch=on").exit_code == 2
        for looking in ("status", "contacts", "journal", "in-flight", "revoke-tokens", "release"):
            assert run(looking).exit_code == 0
        for looking in ("list", "presets", "clear"):
            assert run("faults", looking).exit_code == 0
        organization.client.close()


def test_a_start_takes_less_than_two_seconds(tmp_path: Path) -> None:
    """Measured to dynamics.json, certificates included; a wide margin for a busy machine."""
    started_s = time.monotonic()
    with (tmp_path / "out").open("w+b") as output:
        process = start_emulator(tmp_path, output=output)
        wait_until_ready(process, tmp_path, output)
        took_s = time.monotonic() - started_s
        stop(process)
    assert took_s < 10
