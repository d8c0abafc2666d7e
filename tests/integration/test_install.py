"""docs/install.md, executed as it stands there: from an empty database and an empty broker to the
first delivery, with the wheel, on the sandbox's real parts.

Only what must be another one here is exchanged: folders that root owns, one broker instead of
three, and the passwords that a person would type.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from hlf_sync_sandbox.dynamics.control import DynamicsControl
from hlf_sync_sandbox.layout import read_env, write_env
from hlf_sync_sandbox.postgres_files import program
from hlf_sync_sandbox.resources import resource
from hlf_sync_sandbox.stack import Sandbox
from psycopg import sql

from tests.fixtures.worker_process import until

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/install.md"
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[str]:
    """The page's blocks of this kind, in order."""
    return [text for name, text in _BLOCK.findall(PAGE.read_text(encoding="utf-8")) if name == kind]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The parts as a provider would hand them over, and the application's own tables."""
    sandbox = Sandbox(tmp_path_factory.mktemp("install") / "sandbox")
    try:
        sandbox.up([part for part in _parts() if part != "web"], is_empty=True)
        admin = sandbox.env["SANDBOX_POSTGRES_ADMIN_DSN"]
        with psycopg.connect(admin.rpartition("/")[0] + "/postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE mentors")
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(resource("sql/app.sql").read_bytes())
        yield sandbox
    finally:
        sandbox.down(wipe=True)


def _parts() -> tuple[str, ...]:
    from hlf_sync_sandbox.stack import PARTS  # noqa: PLC0415 - beside its use

    return PARTS


class Page:
    """The page's blocks run one after the other in one shell's environment."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder, self.sandbox = folder, sandbox
        self.exports = ""
        self.settings = folder / "etc/hlf-sync/worker.env"
        self.settings.parent.mkdir(parents=True)
        (folder / "checkout").mkdir()
        for name in (
            "requirements",
            "connectors",
            "schemas",
            "consumer",
            "deploy",
            "pyproject.toml",
        ):
            (folder / "checkout" / name).symlink_to(ROOT / name)
        for name in ("README.md", "LICENSE"):
            (folder / "checkout" / name).symlink_to(ROOT / name)

    def exchanged(self, text: str) -> str:
        """What must be another one on this machine."""
        return (
            text.replace("/opt/hlf-sync", str(self.folder / "opt"))
            .replace("/etc/hlf-sync", str(self.settings.parent))
            .replace("hlf-sync topics apply", "hlf-sync topics apply --replicas 1")
        )

    def run(self, text: str) -> str:
        """One block; what it said."""
        script = f"set -euo pipefail\n{self.exports}\n{self.exchanged(text)}"
        path = f"{Path(sys.executable).parent}:{program('psql').parent}:{os.environ['PATH']}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HLF_")}
        done = subprocess.run(
            [shutil.which("bash") or "/bin/bash", "-c", script],
            cwd=self.folder / "checkout",
            env={
                **clean,
                "PATH": path,
                # hatchling is here already; pip reads 'false' as: no isolation.
                "PIP_NO_BUILD_ISOLATION": "false",
                "ADMIN_DSN": self.sandbox.env["SANDBOX_POSTGRES_ADMIN_DSN"],
            },
            capture_output=True,
            text=True,
            timeout=480,  # pip fetches, where nothing of it is in its cache
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        if text.startswith("export "):
            self.exports += self.exchanged(text)
        return done.stdout + done.stderr

    def set_passwords(self) -> None:
        """As an administrator would type them; the sandbox's source file has hlf_cdc's already."""
        passwords = read_passwords(self.sandbox)
        with psycopg.connect(
            self.sandbox.env["SANDBOX_POSTGRES_ADMIN_DSN"], autocommit=True
        ) as connection:
            for role in ("hlf_sync", "hlf_cdc", "hlf_web"):
                connection.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                        sql.Identifier(role), sql.Literal(passwords[role])
                    )
                )

    def write_settings(self) -> None:
        """Those names that the page has, with the sandbox's values."""
        (example,) = blocks("ini")
        names = [line.partition("=")[0] for line in example.splitlines()]
        secret = self.settings.parent / "dynamics-secret"
        known = {
            **self.sandbox.env,
            "HLF_SYNC_DELIVERY": "shadow",
            "HLF_SYNC_DYNAMICS_CLIENT_SECRET_FILE": str(secret),
        }
        secret.write_text(known["HLF_SYNC_DYNAMICS_CLIENT_SECRET"])
        # The emulator's certificate is its own, and it gives the tokens itself.
        own = ("HLF_SYNC_DYNAMICS_CA_FILE", "HLF_SYNC_DYNAMICS_AUTHORITY")
        extra = {name: known[name] for name in own}
        write_env(self.settings, {name: known[name] for name in names} | extra)


def read_passwords(sandbox: Sandbox) -> dict[str, str]:
    """The roles' passwords."""
    from hlf_sync_sandbox.layout import read_json  # noqa: PLC0415 - beside its use

    return {role: str(text) for role, text in read_json(sandbox.layout.passwords).items()}


def exec_start(unit: Path) -> list[str]:
    """What a unit starts, with its environment."""
    text = unit.read_text(encoding="utf-8")
    environment = re.findall(r"^Environment=(.*)$", text, re.MULTILINE)
    (command,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    return ["env", *environment, *command.split()]


@pytest.mark.stack
@pytest.mark.timeout(900)
@pytest.mark.requirement("R66")
def test_the_page_leads_from_an_empty_database_and_broker_to_the_first_delivery(
    empty: Sandbox, tmp_path: Path
) -> None:
    """Every block; the passwords after the roles, the workers as the unit starts them."""
    page = Page(tmp_path, empty)
    program_, roles, exports, schema, doctor, look, verify = blocks("sh")
    assert page.run(program_).strip().endswith("hlf-sync 0.1.0")
    page.run(roles)
    page.set_passwords()
    page.write_settings()
    page.run(exports)
    said = page.run(schema)
    assert "created    hlf.mentor.changes" in said and "hlf-mentor-cdc: RUNNING" in said
    page.run(doctor)
    mentor, contact = str(uuid4()), str(uuid4())
    dynamics = DynamicsControl(empty.layout.root)
    dynamics.put_contacts({contact: False})
    with psycopg.connect(empty.env["SANDBOX_POSTGRES_ADMIN_DSN"], autocommit=True) as connection:
        connection.execute(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', 'active')",
            (mentor,),
        )
        connection.execute(
            "INSERT INTO app.certification (id, mentor_id, status, expires_at) VALUES"
            " (gen_random_uuid(), %s, 'issued', now() + interval '1 year')",
            (mentor,),
        )
        connection.execute(
            "INSERT INTO hlf_sync.contact_mapping (mentor_id, contact_id) VALUES (%s, %s)",
            (mentor, contact),
        )
    with workers(page):
        assert mentor in page.run(look)
        assert dynamics.contacts()[contact] is False, "shadow calls nothing"
    settings = read_env(page.settings) | {"HLF_SYNC_DELIVERY": "live"}
    write_env(page.settings, settings)
    with workers(page):
        page.run(verify)
        assert dynamics.contacts()[contact] is True


def workers(page: Page) -> ExitStack:
    """Two, as systemd would start and stop them."""
    stack = ExitStack()
    for number in ("1", "2"):
        command = [
            page.exchanged(word).replace("808%i", "0").replace("%i", number)
            for word in exec_start(ROOT / "deploy/systemd/hlf-sync@.service")
        ]
        log = page.folder / f"worker-{number}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, cwd=page.folder)
        stack.callback(_stop, process)
    logs = [page.folder / f"worker-{number}.log" for number in ("1", "2")]
    until(lambda: all('"started"' in log.read_text() for log in logs), "both have started", 60)
    assert all('"organization":"HLF"' in log.read_text() for log in logs)
    return stack


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_unit_files_are_what_systemd_understands(unit: Path, tmp_path: Path) -> None:
    """And closed: little is left exposed. The program's place is exchanged for one that exists."""
    name = unit.name.replace("@.", "@1.")
    text = unit.read_text(encoding="utf-8")
    copy = tmp_path / name
    copy.write_text(text.replace("/opt/hlf-sync/bin/hlf-sync", sys.executable), encoding="utf-8")
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [
        line for line in verified.stderr.splitlines() if name in line or unit.name in line
    ]
    assert complaints == []
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=25", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-2000:] + judged.stderr


def test_a_unit_outlives_the_program_s_own_deadline_and_tries_no_wrong_settings_again() -> None:
    """20 s of a worker's shutdown; exit code 2."""
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8")
        assert re.search(r"^TimeoutStopSec=30$", text, re.MULTILINE), unit.name
        assert re.search(r"^RestartPreventExitStatus=2$", text, re.MULTILINE), unit.name
        assert re.search(r"^Restart=always$", text, re.MULTILINE), unit.name
