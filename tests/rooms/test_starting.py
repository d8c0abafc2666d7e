"""How a worker starts, and how it is stopped while it does: from the first instruction on a stop is
clean. In processes of their own; nothing that it needs is there.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
# Sends itself the signal when this module's import begins, as an impatient supervisor would.
_IMPATIENT = """
import os, runpy, sys
moment, number = sys.argv[1], int(sys.argv[2])
def hear(event, arguments):
    if event == "import" and arguments[0] == moment:
        os.kill(os.getpid(), number)
sys.addaudithook(hear)
sys.argv = ["hlf-sync", "run", "--env-file", sys.argv[3]]
runpy.run_module("hlf_sync", run_name="__main__")
"""
MOMENTS = (
    "hlf_sync.crash",
    "hlf_sync.errors",
    "hlf_sync.commands.app",
    "typer",
    "uvloop",
    "hlf_sync.worker.wiring",
    "confluent_kafka",
)


def settings(folder: Path) -> Path:
    """Complete, in shadow, and of addresses where nobody listens."""
    file = folder / "worker.env"
    file.write_text(
        "HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS='127.0.0.1:1'\n"
        "HLF_SYNC_SCHEMA_REGISTRY_URL='http://127.0.0.1:1'\n"
        "HLF_SYNC_POSTGRES_DSN='host=127.0.0.1 port=1 dbname=x user=x'\n"
        "HLF_SYNC_DYNAMICS_BASE_URL='https://127.0.0.1:1'\n"
        "HLF_SYNC_DELIVERY='shadow'\nHLF_SYNC_HTTP_PORT='0'\n",
        encoding="utf-8",
    )
    return file


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("HLF_SYNC_")}


@pytest.mark.requirement("R40")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stop_while_a_worker_is_still_importing_itself_is_clean(
    tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    """Nothing was begun: exit code 0 and one line, no stack trace."""
    command = [sys.executable, "-c", _IMPATIENT, moment, str(number.value)]
    found = subprocess.run(
        [*command, str(settings(tmp_path))],
        cwd=_ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert "nothing was begun" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.requirement("R40")
def test_a_stop_while_a_worker_waits_for_what_it_needs_is_clean_and_quick(tmp_path: Path) -> None:
    """Whatever a dependency takes to say no."""
    command = [sys.executable, "-m", "hlf_sync", "run", "--env-file", str(settings(tmp_path))]
    with subprocess.Popen(
        command, cwd=_ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert '"waiting_for"' in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        assert process.wait(30) == 0
        assert time.monotonic() - began_s < 10


@pytest.mark.requirement("R40")
def test_what_never_answers_at_start_is_named_and_ends_with_four(tmp_path: Path) -> None:
    """After the start's deadline, which is told. A name that is not a setting is a line of the log,
    as all that a worker says.
    """
    command = [sys.executable, "-m", "hlf_sync", "run", "--env-file", str(settings(tmp_path))]
    found = subprocess.run(
        command,
        cwd=_ROOT,
        env={
            **environment(),
            "HLF_SYNC_STARTUP_DEADLINE_S": "1",
            "HLF_SYNC_DELIVRY": "shadow",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 4
    said = [json.loads(line) for line in found.stdout.splitlines()]
    assert [one["detail"] for one in said if one["event"] == "not_a_setting"] == [
        "HLF_SYNC_DELIVRY is not a setting of hlf-sync; did you mean HLF_SYNC_DELIVERY?"
    ]
    assert "DELIVRY" not in found.stderr
    assert '"unreachable"' in found.stdout
    assert "PostgreSQL" in found.stdout


@pytest.mark.parametrize("arguments", [("replay", "watch"), ("pending",), ("sweep",)])
def test_ctrl_c_is_answered_by_every_command(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """While it waits for PostgreSQL, which listens and says nothing. Red before: 130, and not a
    word.
    """
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"host=127.0.0.1 port={silent.getsockname()[1]} dbname=x user=x"
        with subprocess.Popen(
            [sys.executable, "-m", "hlf_sync", *arguments, "--env-file", str(settings(tmp_path))],
            cwd=_ROOT,
            env={**environment(), "HLF_SYNC_POSTGRES_DSN": dsn},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            silent.settimeout(30)
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                _, said = process.communicate(timeout=30)
    assert (process.returncode, said.splitlines()[-1:]) == (130, ["interrupted"])
