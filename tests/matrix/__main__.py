"""`python -m tests.matrix [CELL…]`: run the cells one after the other and print the table's rows. Without
names: all of them. Ends with 1 when a cell that is supported does not pass.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.matrix import fetch

_DEADLINE_S = 900
# The sandbox's own PostgreSQL is left alone where the cell is about something else.
_OWN = "-"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One part in another version, everything else as the sandbox has it."""

    part: str
    release: str
    lock: Callable[[], Path] | None = None
    postgres: str | None = None
    python: str | None = None
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.part}-{self.release}"


def _kafka(release: str, **settings: str) -> Cell:
    return Cell(
        part="kafka", release=release, lock=lambda: fetch.jars(kafka=release), settings=settings
    )


def _debezium(release: str) -> Cell:
    return Cell(part="debezium", release=release, lock=lambda: fetch.jars(debezium=release))


# Those that most people have come first.
CELLS = (
    Cell(part="sandbox", release="as it is"),
    _kafka("4.4.0"),
    Cell(part="postgres", release="16.15", postgres="16.15"),
    _debezium("3.5.2.Final"),
    Cell(part="python", release="3.13", python="3.13"),
    Cell(part="python", release="3.14", python="3.14"),
    Cell(part="postgres", release="17.11", postgres="17.11"),
    Cell(part="postgres", release="18.6", postgres="18.6"),
    Cell(part="postgres", release="15.19", postgres="15.19"),
    _kafka("4.1.2"),
    # Its broker offers the new group protocol as a preview only.
    _kafka("3.9.2", HLF_SYNC_KAFKA_OPTIONS='{"group.protocol": "classic"}'),
    Cell(part="python", release="3.12", python="3.12"),
)


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", nargs="*", help=", ".join(cell.name for cell in CELLS))
    asked = parser.parse_args().cells
    chosen = [cell for cell in CELLS if not asked or cell.name in asked]
    return max([_told(cell) for cell in chosen], default=2)


def _told(cell: Cell) -> int:
    begun_s = time.monotonic()
    try:
        code, said = _run(cell)
    except fetch.NotServedError as error:
        _say(f"| {cell.part} | {cell.release} | not to be had here | {error} |")
        return 0
    took_s = time.monotonic() - begun_s
    outcome = f"works ({took_s:.0f} s)" if code == 0 else f"**fails** ({code})"
    _say(f"| {cell.part} | {cell.release} | {outcome} | {said} |")
    return min(code, 1)


def _run(cell: Cell) -> tuple[int, str]:
    """Exit code and what the story said of itself."""
    lock = str(cell.lock()) if cell.lock else _OWN
    postgres = str(fetch.postgres(cell.postgres)) if cell.postgres else _OWN
    python = str(fetch.python(cell.python)) if cell.python else sys.executable
    with tempfile.TemporaryDirectory(prefix="hlf-matrix-") as folder:
        Path(folder).chmod(0o711)
        log = Path(folder) / "log"
        with log.open("wb") as output:
            done = subprocess.run(
                [python, "-m", "tests.matrix.cell", lock, postgres, f"{folder}/state"],
                cwd=fetch.ROOT,
                env={**os.environ, **cell.settings},
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=_DEADLINE_S,
                check=False,
            )
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        kept = Path(tempfile.gettempdir()) / f"hlf-matrix-{cell.name.replace(' ', '-')}.log"
        kept.write_text("\n".join(lines), encoding="utf-8")
    return done.returncode, _verdict(lines)


def _verdict(lines: list[str]) -> str:
    """The story's last word; of one that broke off, the log's last line."""
    words = [line.strip() for line in lines] or ["it said nothing"]
    ends = [word for word in words if word in ("all equal", "NOT EQUAL")]
    return (ends or words)[-1]


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
