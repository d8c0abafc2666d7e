"""The README's 'Play the application', executed as it stands there, line by line, by a shell in an
empty folder: what a newcomer types.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hlf_sync_sandbox.stack import Sandbox

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
FIRST = "000000a1-0000-4000-8000-000000000001"
_SECTION = "### Play the application\n"


def lines() -> list[str]:
    """The section's commands, without their comments."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split(_SECTION, 1)[1].split("\n## ")[0]
    return [
        re.split(r"\s+# ", line)[0].strip() for line in text.splitlines() if line.startswith("    ")
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Empty but for the virtual environment's commands. Taken down afterwards."""
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/bin").symlink_to(Path(sys.executable).parent)
    yield tmp_path
    Sandbox(tmp_path / ".sandbox").down(wipe=True)


@pytest.mark.requirement("R66")
def test_the_readme_s_ten_lines_play_the_application(folder: Path) -> None:
    """First and second worker, a mentor paused and gone, a dead letter understood and healed."""
    assert len(lines()) == 10
    script = "\n".join(f"echo '##{number}'\n{line} || exit" for number, line in enumerate(lines()))
    script = script.replace("& || exit", "&")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("HLF_SYNC_")
    } | ({"HLF_SYNC_CACHE": cache} if (cache := os.environ.get("HLF_SYNC_CACHE")) else {})
    output = folder / "output"
    with output.open("wb") as file:
        shell = subprocess.Popen(
            [shutil.which("bash") or "/bin/bash", "-c", script],
            cwd=folder,
            env=environment,
            stdout=file,  # a file: the workers hold it open after the shell's end
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code = shell.wait(240)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)  # the workers
    said = output.read_text()
    assert code == 0, said
    parts = dict(re.findall(r"##(\d+)\n(.*?)(?=##\d|\Z)", said, re.DOTALL))
    assert "20 mentors asked for, and all of them are through" in parts["3"], said
    assert f"{FIRST} is hidden, as it should be: the status is paused" in parts["5"], said
    assert "unmapped" in parts["7"], said
    assert parts["9"].count("shown") == 20 and parts["9"].count("hidden") == 1, said
    logs = [(folder / f"worker-{number}.log").read_text() for number in (1, 2)]
    assert all('"started"' in log for log in logs), logs
    assert sum('"port_taken"' in log for log in logs) >= 1, logs
