"""`doctor` on the real stack: sound when everything is, and with any one part away or wrong it says
which, within seconds.
"""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hlf_sync.commands.app import app
from hlf_sync_sandbox.stack import Sandbox
from typer.testing import CliRunner

from tests.fixtures.source_side import CONNECTOR, SourceSide
from tests.fixtures.worker_process import Town, found_town, until

pytestmark = pytest.mark.stack

# What belongs to each part, and the settings that lead to it.
_PARTS = {
    "POSTGRES_DSN": ("postgres", 4),
    "KAFKA_BOOTSTRAP_SERVERS": ("kafka", 4),
    "SCHEMA_REGISTRY_URL": ("registry", 4),
    "CONNECT_URL": ("connect", 1),
    "DYNAMICS_BASE_URL": ("dynamics.token", 1),
}


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[Town]:
    """A town of its own."""
    yield from found_town(stack, source_side, tmp_path)


def examined(town: Town, **changes: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code, and the checks by name."""
    environ = {
        f"HLF_SYNC_{name}": value
        for name, value in {"KAFKA_GROUP_ID": town.group, **changes}.items()
    }
    result = CliRunner().invoke(
        app, ["doctor", "--json", "--env-file", str(town.stack.layout.env_file)], env=environ
    )
    return result.exit_code, {
        check["check"]: check for check in json.loads(result.stdout)["checks"]
    }


def unwell(checks: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What is not ok."""
    return {name: check["verdict"] for name, check in checks.items() if check["verdict"] != "ok"}


def test_with_everything_up_and_a_worker_all_is_well(town: Town) -> None:
    """One broker and the wheel's older PostgreSQL are the sandbox's only blemishes, and what other
    tests left undeliverable; not one write reaches Dynamics.
    """
    worker = town.worker(is_awaited=False)
    until(worker.is_ready, "the worker is ready", 60)
    town.settle()
    since = town.dynamics.last_seq()
    code, checks = examined(town)
    assert code == 0
    known = {"kafka": "warn", "postgres.release": "warn"}
    assert (
        known.items() <= unwell(checks).items() <= {**known, "fleet.dead_letters": "warn"}.items()
    )
    assert "1 worker in" in checks["kafka.group"]["text"]
    assert {call["method"] for call in town.dynamics.journal(since, kind="api")} == {"GET"}


def test_any_part_may_be_away(town: Town) -> None:
    """It fails, its fix is told, the others are examined; a part that a worker cannot start without
    makes it exit code 4.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers there
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
        addresses = {
            "POSTGRES_DSN": f"postgresql://hlf_sync:secret@{nobody}/mentors",
            "KAFKA_BOOTSTRAP_SERVERS": nobody,
            "SCHEMA_REGISTRY_URL": f"http://{nobody}",
            "CONNECT_URL": f"http://{nobody}",
            "DYNAMICS_BASE_URL": f"https://{nobody}",
        }
        for setting, (check, code) in _PARTS.items():
            began_s = time.monotonic()
            found, checks = examined(town, **{setting: addresses[setting]})
            failed = {name for name, one in checks.items() if one["verdict"] == "fail"}
            assert (setting, found, failed) == (setting, code, {check})
            assert checks[check]["fix"]
            assert time.monotonic() - began_s < 15, "5 s, and a busy machine"
            others = {
                name for name, one in checks.items() if not name.startswith(check.split(".")[0])
            }
            dependents = {"source", "fleet"} if check == "postgres" else set()
            assert not [
                name
                for name in others
                if checks[name]["verdict"] == "skipped" and name.split(".")[0] not in dependents
            ]


def test_what_is_wrong_is_told_apart(town: Town) -> None:
    """A wrong secret, a missing application user, a paused connector: a fail each, and
    what to do.
    """
    _, checks = examined(town, DYNAMICS_CLIENT_SECRET="wr0ng-secret")
    assert checks["dynamics.token"]["text"] == "credentials refused: invalid_client (AADSTS7000215)"
    assert checks["dynamics.whoami"]["verdict"] == "skipped"
    town.dynamics.switches(app_user=False)
    code, checks = examined(town)
    assert (code, checks["dynamics.whoami"]["verdict"]) == (1, "fail")
    assert "application user" in checks["dynamics.whoami"]["fix"]
    town.side.connect.put(f"/connectors/{CONNECTOR}/pause").raise_for_status()
    try:
        town.side.await_state("PAUSED")
        _, checks = examined(town)
    finally:
        town.side.connect.put(f"/connectors/{CONNECTOR}/resume").raise_for_status()
    assert checks["connect.connector"]["verdict"] == "fail"
    assert "resume" in checks["connect.connector"]["fix"]
    town.side.await_running()
