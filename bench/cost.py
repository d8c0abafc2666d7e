"""What the processes of one bench cost: CPU of a worker, of PostgreSQL with all its processes, and
how many transactions PostgreSQL committed, between two moments. Read from /proc, so that what else
the machine does counts little.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of CPU, and commits."""

    worker_s: float
    postgres_s: float
    commits: int

    def __sub__(self, before: "Cost") -> "Cost":
        return Cost(
            self.worker_s - before.worker_s,
            self.postgres_s - before.postgres_s,
            self.commits - before.commits,
        )


class Meter:
    """Looks at one PostgreSQL, and leaves out what the bench's own connections cost there."""

    def __init__(self, dsn: str, own: psycopg.Connection) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._own = {self._connection.info.backend_pid, own.info.backend_pid}
        self._postmaster = _parent(self._connection.info.backend_pid)

    def look(self, workers: list[int]) -> Cost:
        """What has been used until now. What a process used that has ended is its parent's."""
        found = self._connection.execute(
            "SELECT sum(xact_commit)::bigint FROM pg_stat_database"
        ).fetchone()
        used_s = _used_s(self._postmaster, with_ended=True)
        used_s += sum(
            _used_s(pid, with_ended=False)
            for pid in _children(self._postmaster)
            if pid not in self._own
        )
        return Cost(
            sum(_used_s(pid, with_ended=False) for pid in workers),
            used_s,
            int(found[0]) if found else 0,
        )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _fields(pid: int) -> list[str]:
    text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    return text.rsplit(") ", 1)[1].split()


def _parent(pid: int) -> int:
    return int(_fields(pid)[1])


def _used_s(pid: int, *, with_ended: bool) -> float:
    try:
        fields = _fields(pid)
    except OSError:  # it has ended: its parent counts it
        return 0.0
    return sum(map(int, fields[11 : 15 if with_ended else 13])) * _TICK_S


def _children(pid: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if _parent(int(entry.name)) == pid:
                    yield int(entry.name)
            except OSError:
                continue
