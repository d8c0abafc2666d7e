"""The demo's story, asserted: what `make demo` shows a person is what the tests hold it to."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.sandbox import finish, left_behind, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

_STORY = (
    "904 of HLF, 96 of another organisation",
    "a mentor goes on leave",
    "a certificate lapses",
    "a renewal",
    "reinstated with a valid certificate",
    "reinstated without a certificate",
    "another organisation's mentor is paused",
    "a new mentor without a mapping",
    "dead letter: mentor_mapping",
    "the dead letter is resolved",
    "a burst: 2,000 changes of 50 mentors",
    "Dynamics is away for 20 s",
    "the circuit is open",
    "no dead letter, nobody restarted anything",
    "905 of 905 HLF mentors equal",
    "0 of 96 mentors of another organisation were called for",
    "all equal",
)


def _start(state: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "hlf_sync", "demo", "--state", str(state), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.requirement("R01")
@pytest.mark.requirement("R02")
@pytest.mark.requirement("R03")
@pytest.mark.requirement("R04")
@pytest.mark.requirement("R05")
@pytest.mark.requirement("R06")
@pytest.mark.requirement("R30")
@pytest.mark.requirement("R40")
def test_the_demo_tells_its_story_and_ends_with_every_mentor_equal(tmp_path: Path) -> None:
    """Exit code 0, every scene in its order, plausible figures, and nothing left behind."""
    state = tmp_path / "demo"
    code, output, errors = finish(_start(state, "--plain"), deadline_s=240)
    assert code == 0, output + errors
    places = [output.find(line) for line in _STORY]
    assert -1 not in places, (
        "missing:"
        f" {[line for line, place in zip(_STORY, places, strict=True) if place < 0]}\n{output}"
    )
    assert places == sorted(places), output
    fresh = re.search(r"p50 (\d+) ms, p99 (\d+) ms \((\d+) changes\)", output)
    assert fresh is not None and int(fresh[3]) == 100, output
    saved = re.search(r"([\d,]+) calls saved", output)
    assert saved is not None and int(saved[1].replace(",", "")) > 1_000, (
        output
    )  # fewer where the machine is slow
    assert not state.exists() and not left_behind(state)


def test_ctrl_c_in_the_middle_of_the_story_leaves_nothing_behind(tmp_path: Path) -> None:
    """Interrupted while the worker runs: exit code 130, worker and stack down, folder gone, no
    stack trace.
    """
    state = tmp_path / "demo"
    process = _start(state, "--plain")
    assert process.stdout is not None
    for line in process.stdout:
        if "the worker starts" in line:
            break
    os.kill(process.pid, signal.SIGINT)
    code, output, errors = finish(process, deadline_s=60)
    assert code == 130, output + errors
    assert "Traceback" not in output + errors
    wait_until(lambda: not left_behind(state), "processes are left behind")
    assert not state.exists()


def test_a_folder_that_is_no_demo_is_refused(tmp_path: Path) -> None:
    """Somebody's files are not cleared away."""
    (tmp_path / "precious").write_text("mine", encoding="utf-8")
    code, output, errors = finish(_start(tmp_path, "--plain"))
    assert code == 2, output + errors
    assert "is not a demo" in errors
    assert (tmp_path / "precious").exists()
