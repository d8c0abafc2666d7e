"""How a process of ours ends: the exit codes, what each says, and what ends a worker.

Read by the entry point, the worker's shutdown and the commands; docs/contract.md has the same codes
(a test compares). Values only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final


class Exit(IntEnum):
    """What a process says to whoever started it."""

    DONE = 0
    DIFFERS = 1
    REFUSED = 2
    HALTED = 3
    UNREACHABLE = 4
    CUT_SHORT = 5
    BUG = 70  # sysexits.h, EX_SOFTWARE: not 1, which says differences
    INTERRUPTED = 130  # 128 + SIGINT, as shells have it


MEANINGS: Final[Mapping[Exit, str]] = MappingProxyType(
    {
        Exit.DONE: "done; after a clean drain of `run` too",
        Exit.DIFFERS: (
            "`reconcile` found differences and did not repair them, `doctor` found something wrong,"
            " or `force --wait` ended as an open dead letter"
        ),
        Exit.REFUSED: "wrong settings or arguments, or a plan that may not be applied",
        Exit.HALTED: "halted, or a `--wait` that passed its timeout; what halts is said",
        Exit.UNREACHABLE: (
            "PostgreSQL, Kafka or the registry stayed unreachable for"
            " `HLF_SYNC_STARTUP_DEADLINE_S` at start; Dynamics is no reason not to start"
        ),
        Exit.CUT_SHORT: (
            "the shutdown deadline passed, or a second signal came: what was cut short is in doubt"
            " and comes again"
        ),
        Exit.BUG: "a bug of ours; please report it",
        Exit.INTERRUPTED: "interrupted by Ctrl-C; the same command goes on, or begins anew",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEnd:
    """What ends a worker, and what it leaves. Whatever is not in the table, it waits for."""

    cause: str
    exit_code: Exit
    leaves: str


WORKER_ENDS: Final = (
    WorkerEnd(
        cause="a setting is missing, wrong, or two contradict each other",
        exit_code=Exit.REFUSED,
        leaves="nothing: no part was opened",
    ),
    WorkerEnd(
        cause="a part is unreachable for the whole startup deadline",
        exit_code=Exit.UNREACHABLE,
        leaves="nothing: no partition was taken",
    ),
    WorkerEnd(
        cause="SIGTERM or SIGINT, and the drain ends in time",
        exit_code=Exit.DONE,
        leaves="nothing open: outcomes are durable, offsets committed, the group left",
    ),
    WorkerEnd(
        cause="SIGTERM or SIGINT, and the drain does not end in time; or a second signal",
        exit_code=Exit.CUT_SHORT,
        leaves="calls in doubt, which another worker delivers again after their lease",
    ),
    WorkerEnd(
        cause="a call that our own rules forbid (`InvariantError`)",
        exit_code=Exit.HALTED,
        leaves="calls in doubt, as after a kill",
    ),
    WorkerEnd(
        cause="any other exception that nobody expected",
        exit_code=Exit.BUG,
        leaves="calls in doubt, as after a kill",
    ),
)
