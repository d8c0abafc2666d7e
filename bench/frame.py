"""What benches that need the real stack share: a sandbox of their own, workers in it, what a
process costs, and waiting with a deadline.
"""

import compileall
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import hlf_sync
import psycopg
from hlf_sync_sandbox.dynamics.control import DynamicsControl
from hlf_sync_sandbox.stack import PARTS, Sandbox

# Out of the way of what is measured; each bench turns on what it is about.
QUICK = {
    "MASS_REMOVAL_RATIO": "0",
    "DEAD_LETTER_LIMIT_RATIO": "0",
    "DEAD_LETTER_LIMIT_RUN": "0",
    "HTTP_PORT": "0",
    "LOG_LEVEL": "info",
}
UNPACED = {"PACE_REQUESTS_PER_S": "100000", "PACE_BURST": "1000"}


@dataclass(frozen=True)
class Bench:
    """A running sandbox."""

    sandbox: Sandbox
    folder: Path
    dynamics: DynamicsControl
    connection: psycopg.Connection

    @property
    def env(self) -> dict[str, str]:
        """The sandbox's settings."""
        return self.sandbox.env

    def one(self, statement: str) -> float:
        """One number of the database."""
        row = self.connection.execute(statement).fetchone()
        return float(row[0]) if row and row[0] is not None else 0.0

    def log(self, number: int = 0) -> str:
        """A worker's log."""
        return (self.folder / f"worker-{number}.log").read_text(errors="replace")


@contextmanager
def bench(*, has_limits: bool = False, with_web: bool = False) -> Iterator[Bench]:
    """A sandbox, with Dynamics' protection limits or without, removed afterwards. Without the web
    service, which would take its part of the machine.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # `timeout` sends it
    with tempfile.TemporaryDirectory(prefix="hlf-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        sandbox = Sandbox(folder)
        sandbox.up([part for part in PARTS if with_web or part != "web"])
        try:
            dynamics = DynamicsControl(folder)
            if not has_limits:
                dynamics.unlimited()
            with psycopg.connect(
                sandbox.env["SANDBOX_POSTGRES_ADMIN_DSN"], autocommit=True
            ) as connection:
                yield Bench(sandbox, folder, dynamics, connection)
        finally:
            sandbox.down(wipe=True)


@contextmanager
def kept_or_own(state: Path | None) -> Iterator[Sandbox]:
    """The sandbox in this folder, left as it is; without one, one for this run."""
    found = Sandbox(state or Path(tempfile.mkdtemp(prefix="hlf-bench-")))
    found.up()
    try:
        yield found
    finally:
        if state is None:
            found.down(wipe=True)


@contextmanager
def workers(
    folder: Path, count: int, program: Sequence[str] = ("-m", "hlf_sync"), **settings: str
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many workers with these settings (without their prefix), ended afterwards."""
    # As in the image and after an installation: a start does not compile. (Some machines forbid Python to
    # keep what it has compiled.)
    compileall.compile_dir(str(Path(hlf_sync.__file__).parent), quiet=2)
    environ = {
        **os.environ,
        **{f"HLF_SYNC_{name}": value for name, value in {**QUICK, **settings}.items()},
    }
    started = []
    for number in range(count):
        with (folder / f"worker-{number}.log").open("ab") as log:
            command = [sys.executable, *program, "run", "--env-file", str(folder / "sandbox.env")]
            started.append(subprocess.Popen(command, env=environ, stdout=log, stderr=log))
    try:
        yield started
    finally:
        for worker in started:
            worker.terminate()
        for worker in started:
            worker.wait()


def mentors_of(
    bench: Bench,
    count: int,
    *,
    status: str = "paused",
    shown: bool | None = True,
    is_certified: bool = False,
) -> list[str]:
    """HLF's mentors with contacts and mappings, in COPYs; each of them is one change."""
    mentors = [str(uuid.uuid4()) for _ in range(count)]
    bench.dynamics.put_contacts(dict.fromkeys(mentors, shown))
    with bench.connection.transaction(), bench.connection.cursor() as cursor:
        with cursor.copy("COPY hlf_sync.contact_mapping FROM STDIN") as copy:
            for mentor in mentors:
                copy.write_row((mentor, mentor))
        with cursor.copy("COPY app.mentor (id, organization_code, status) FROM STDIN") as copy:
            for mentor in mentors:
                copy.write_row((mentor, "HLF", status))
        if is_certified:
            cursor.execute(
                "INSERT INTO app.certification SELECT gen_random_uuid(), id, 'valid', now() +"
                " interval '1 year' FROM unnest(%s::uuid[]) AS m (id)",
                (mentors,),
            )
    return mentors


def until(
    condition: Callable[[], bool], what: str, deadline_s: float, every_s: float = 0.1
) -> None:
    """Wait for it, or end with what did not happen."""
    end_s = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end_s:
            raise SystemExit(f"not within {deadline_s:.0f} s: {what}")
        time.sleep(every_s)


def cpu_s(pid: int) -> float:
    """A process's CPU so far, user and system, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid: int) -> float:
    """The most memory a process ever had, MiB."""
    line = next(
        line
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        if line.startswith("VmHWM")
    )
    return int(line.split()[1]) / 1024
