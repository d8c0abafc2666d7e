"""The sandbox's processes and ports, with real ones: nothing of the stack is started."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hlf_sync_sandbox import ports
from hlf_sync_sandbox.cache import locked
from hlf_sync_sandbox.process import (
    Process,
    birth_of,
    find_left_behind,
    is_running,
    send,
    spawn,
    stop_all,
)

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAF = [
    sys.executable,
    "-c",
    (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True);"
        " time.sleep(60)"
    ),
]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A folder whose processes are ended afterwards."""
    yield tmp_path
    stop_all([(process, signal.SIGKILL, 5.0) for process in find_left_behind(tmp_path, [])])


def run(state: Path, command: list[str] = SLEEP) -> Process:
    """A process of the sandbox."""
    return spawn(command, cwd=state, environ={}, log=state / "log", state=state)


def test_a_process_is_known_by_its_birth(state: Path) -> None:
    """The same number with another birth is a stranger, who gets no signal."""
    process = run(state)
    stranger = replace(process, birth="another")
    assert is_running(process)
    assert not is_running(stranger)
    send(stranger, signal.SIGKILL)
    stop_all([(stranger, signal.SIGKILL, 1.0)])
    assert is_running(process)
    stop_all([(process, signal.SIGTERM, 5.0)])
    assert not is_running(process)
    assert birth_of(process.pid) is None


def test_one_that_does_not_hear_is_killed(state: Path) -> None:
    """And named, because it left nothing whole."""
    process = run(state, DEAF)
    end = time.monotonic() + 10
    while (state / "log").read_text() != "deaf\n":
        assert time.monotonic() < end
    assert stop_all([(process, signal.SIGTERM, 0.2)]) == [process]
    assert not is_running(process)


def test_a_frozen_one_is_stopped_too(state: Path) -> None:
    """SIGTERM alone would wait in its queue for ever."""
    process = run(state)
    os.kill(process.pid, signal.SIGSTOP)
    assert stop_all([(process, signal.SIGTERM, 5.0)]) == []
    assert not is_running(process)


def test_what_nobody_wrote_down_is_found_by_its_mark(
    state: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Only this sandbox's, and not those that are kept."""
    process = run(state)
    other = tmp_path_factory.mktemp("other")
    beside = run(other)
    try:
        assert find_left_behind(state, []) == [process]
        assert find_left_behind(state, [], kept=[process]) == []
    finally:
        stop_all([(beside, signal.SIGKILL, 5.0)])


def test_a_shell_that_stands_in_a_folder_of_ours_is_no_process_of_ours(state: Path) -> None:
    """The folder counts for PostgreSQL's children only."""
    with subprocess.Popen(SLEEP, cwd=state) as bystander:
        try:
            assert find_left_behind(state, [state]) == []
        finally:
            bystander.kill()


def test_ports_are_chosen_once(tmp_path: Path) -> None:
    """All different, below the range of outgoing connections, and kept."""
    file = tmp_path / "ports.json"
    first = ports.keep(file)
    assert set(first) == set(ports.NAMES)
    assert len(set(first.values())) == len(first)
    assert all(15_000 <= port < 30_000 for port in first.values())
    assert ports.keep(file) == first


def test_a_broken_file_of_ports_gives_new_ones(tmp_path: Path) -> None:
    """It was cut short, or somebody edited it."""
    file = tmp_path / "ports.json"
    file.write_text('{"kafka": "x"')
    assert set(ports.keep(file)) == set(ports.NAMES)


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    """And is again when they stop."""
    with closing(socket.create_server((ports.HOST, 0))) as server:
        port = server.getsockname()[1]
        assert not ports.is_free(port)
    assert ports.is_free(port)


def test_a_lock_is_waited_for_and_given_back_by_a_killed_process(tmp_path: Path) -> None:
    """The waiting is told once."""
    path = tmp_path / "lock"
    script = (
        "import sys, time; from pathlib import Path; from hlf_sync_sandbox.cache import locked\n"
    )
    script += "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        told: list[str] = []

        def tell() -> None:
            told.append("waiting")
            holder.kill()

        with locked(path, tell):
            assert told == ["waiting"]


def test_a_lock_whose_file_was_removed_is_taken_anew(tmp_path: Path) -> None:
    """`down --wipe` removes it while another waits: both must not hold one each."""
    path = tmp_path / "folder" / "lock"
    with locked(path):
        path.unlink()
        with locked(path, lambda: pytest.fail("a removed lock was waited for")):
            assert path.exists()
