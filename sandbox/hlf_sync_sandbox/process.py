"""One process of the sandbox: start it apart from us, know it again later, stop it, find what was
left behind.

Called by `hlf_sync_sandbox.stack` and the parts. A pid alone says nothing, because systems give it
out again: a process is ours only when its birth (boot and start tick) is the one that was written
down, or when it carries the mark of our state folder.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from hlf_sync_sandbox.account import Account

MARK = "HLF_SYNC_SANDBOX_PROCESS_OF"
_PAUSE_S = 0.05

# Popen objects of this interpreter's children: kept so that a dead child can be reaped instead of
# staying a zombie.
_children: dict[int, subprocess.Popen[bytes]] = {}
_ended: dict[int, int] = {}


@dataclass(frozen=True)
class Process:
    """A pid with what makes it unmistakable."""

    pid: int
    birth: str


def birth_of(pid: int) -> str | None:
    """When a process began, in a form that no clock change alters. None when there is none, or only
    a zombie.
    """
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        _ended[pid] = _children.pop(pid).returncode
        return None
    try:
        fields = (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()
        )
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return _birth_without_proc(pid)
    # A child of ours was asked above; while a Java process ends, its first thread is a zombie
    # already and the rest still works.
    is_over = fields[0] in {"Z", "X"} and child is None
    return None if is_over else f"{boot}:{fields[19]}"


def _birth_without_proc(pid: int) -> str | None:
    if Path("/proc/self/stat").exists():
        return None
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return None


def is_running(process: Process) -> bool:
    """Whether exactly this process lives, not another that got its number."""
    return birth_of(process.pid) == process.birth


def spawn(
    command: list[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    log: Path,
    state: Path,
    account: Account | None = None,
) -> Process:
    """Start a process in a session of its own, so that neither Ctrl-C nor a closed terminal reaches
    it; output goes to `log`.
    """
    # Inherited settings of other Java programs would change ours; everything else a server needs is
    # in `environ`.
    kept = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
        if name in os.environ
    }
    identity = account.popen_arguments() if account else {}
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env={**kept, **environ, MARK: str(state)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **identity,
        )
    _children[child.pid] = child
    return Process(child.pid, birth_of(child.pid) or "ended")


def exit_code(process: Process) -> int | None:
    """How a child of ours ended, as far as known."""
    birth_of(process.pid)
    return _ended.get(process.pid)


def send(process: Process, number: int) -> None:
    """Send a signal, unless the process is gone."""
    if is_running(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def wait_gone(processes: Iterable[Process], deadline_s: float) -> list[Process]:
    """Wait until none is left; return those that are still there."""
    end = time.monotonic() + deadline_s
    left = [process for process in processes if is_running(process)]
    while left and time.monotonic() < end:
        time.sleep(_PAUSE_S)
        left = [process for process in left if is_running(process)]
    return left


def stop_all(asked: Iterable[tuple[Process, int, float]]) -> list[Process]:
    """Ask each to end by its signal, all at once; those that do not within their deadline (seconds)
    are killed, and returned.
    """
    ends = []
    for process, number, deadline_s in asked:
        send(process, number)
        # A frozen one hears us only when it goes on.
        send(process, signal.SIGCONT)
        ends.append((process, time.monotonic() + deadline_s))
    killed = [
        left for process, end in ends for left in wait_gone([process], end - time.monotonic())
    ]
    for process in killed:
        send(process, signal.SIGKILL)
    wait_gone([process for process, _ in ends], 5.0)
    return killed


def find_left_behind(
    state: Path, folders: Iterable[Path], kept: Iterable[Process] = ()
) -> list[Process]:
    """Processes of this sandbox that nobody wrote down: those with its mark, and PostgreSQL's that
    live in one of `folders`.

    The first finds what was started just before `up` was killed. The second finds PostgreSQL's own
    children, which write over their environment and survive their postmaster by a moment; while
    they do, no new postmaster can start. `kept` and whatever descends from them are left out.
    """
    mark, places, spared = (
        str(state),
        {str(folder) for folder in folders},
        {process.pid for process in kept},
    )
    found = []
    for one in psutil.process_iter():
        try:
            # The name as well, because a person's shell may stand in that folder.
            ours = one.environ().get(MARK) == mark or (
                one.name().startswith("postgres") and one.cwd() in places
            )
            ours = ours and not spared.intersection(
                (one.pid, *(parent.pid for parent in one.parents()))
            )
        except (psutil.Error, OSError):  # another user's, or gone meanwhile
            continue
        birth = birth_of(one.pid) if ours and one.pid != os.getpid() else None
        if birth:
            found.append(Process(one.pid, birth))
    return found
