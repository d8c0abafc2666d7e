"""The emulator is judged by clients that none of us wrote: azure-identity and Microsoft's Python SDK
for Dataverse, in an environment of their own (kept in the cache folder).

Opt-in, since it downloads them: `make foreign`. What they see is what they would see of the real
service: token, update, retrieve, a list over several pages, an unknown record and table, a 429.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hlf_sync_sandbox.cache import cache_root
from hlf_sync_sandbox.dynamics.control import DynamicsControl
from hlf_sync_sandbox.dynamics.launch import running_emulator

from tests.fixtures.dynamics import CONTACT, MISSING, VISIBILITY

PACKAGES = ("PowerPlatform-Dataverse-Client==1.1.0", "azure-identity==1.27.0")
SCRIPT = Path(__file__).parents[1] / "fixtures/dataverse_sdk.py"

pytestmark = [
    pytest.mark.requirement("R20"),
    pytest.mark.skipif(
        not os.environ.get("HLF_SYNC_TEST_FOREIGN"), reason="opt-in: make foreign (downloads)"
    ),
    pytest.mark.timeout(600),
]

Ask = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def python() -> str:
    """The Python that has them; made on the first run."""
    folder = cache_root() / "peers" / "dataverse"
    program = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(program), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *PACKAGES], check=True)
        (folder / "ready").touch()
    return str(program)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DynamicsControl]:
    """One emulator for the module."""
    with running_emulator(tmp_path_factory.mktemp("dynamics")) as control:
        yield control


@pytest.fixture
def control(running: DynamicsControl) -> DynamicsControl:
    """As if new: one visible contact, no limits."""
    running.reset(contacts=True, journal=True)
    running.unlimited()
    running.put_contacts({CONTACT: True})
    return running


@pytest.fixture
def ask(python: str, control: DynamicsControl) -> Ask:
    """Have the clients do some steps, and hear what they saw."""

    def asked(*steps: dict[str, Any]) -> list[Any]:
        settings = control.settings
        order = {
            name: settings[name]
            for name in ("base_url", "authority", "tenant_id", "client_id", "client_secret")
        }
        ran = subprocess.run(
            [python, str(SCRIPT)],
            input=json.dumps({**order, "column": VISIBILITY, "steps": steps}),
            text=True,
            capture_output=True,
            check=False,
            timeout=120,
            env={
                **os.environ,
                "REQUESTS_CA_BUNDLE": settings["ca_file"],
                "NO_PROXY": "127.0.0.1,localhost",
            },
        )
        assert ran.returncode == 0, ran.stderr[-2000:]
        found: list[Any] = json.loads(ran.stdout)
        return found

    return asked


def test_microsofts_clients_sign_in_update_and_retrieve(ask: Ask, control: DynamicsControl) -> None:
    """The column is written and read as it was written; nothing else changes."""
    retrieve = {"do": "retrieve", "table": "contact", "contact": CONTACT}
    assert ask(
        {"do": "token"},
        retrieve,
        {"do": "update", "contact": CONTACT, "value": False},
        retrieve,
    ) == [True, {VISIBILITY: True}, "updated", {VISIBILITY: False}]
    assert control.contacts() == {CONTACT: False}


def test_microsofts_sdk_lists_over_several_pages(ask: Ask, control: DynamicsControl) -> None:
    """Seven are shown, three a page: it follows the next links to the end, each once."""
    shown = sorted([CONTACT, *(str(uuid4()) for _ in range(6))])
    control.put_contacts({**dict.fromkeys(shown, True), str(uuid4()): False, str(uuid4()): None})
    (pages,) = ask({"do": "list", "page_size": 3})
    assert [len(page) for page in pages] == [3, 3, 1]
    assert sorted(contact for page in pages for contact in page) == shown
    lists = [one for one in control.journal(kind="api") if one["path"].endswith("/contacts")]
    assert len(lists) == 3


def test_microsofts_sdk_sees_what_is_not_there(ask: Ask) -> None:
    """An unknown contact (None to retrieve, 404 with Dataverse's code to update), an unknown
    table.
    """
    found, refused, table = ask(
        {"do": "retrieve", "table": "contact", "contact": MISSING},
        {"do": "update", "contact": MISSING, "value": True},
        {"do": "retrieve", "table": "gadget", "contact": MISSING},
    )
    assert found is None
    assert (refused["status"], refused["code"]) == (404, "0x80040217")
    assert "metadata" in table


def test_microsofts_sdk_sees_the_protection_limit(ask: Ask, control: DynamicsControl) -> None:
    """429 with the code of the request limit, and how long to wait; to it the error is transient."""
    control.fault("throttled", method="PATCH", retry_after=7)
    first, second = (
        {"do": "update", "contact": CONTACT, "value": value} for value in (False, False)
    )
    refused, done = ask(first, second)
    assert refused == {
        "status": 429,
        "code": "0x80072322",
        "retry_after": 7,
        "is_transient": True,
    }
    assert done == "updated"
