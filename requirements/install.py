# ruff: noqa: INP001 - run by make, never imported
"""Installs a locked list with pip, and says how far it is: one line that grows on a terminal, a line
for each quarter elsewhere. Called by the Makefile with the virtual environment's own Python; needs
nothing but the standard library.

    python requirements/install.py requirements/demo.txt
"""

import re
import subprocess
import sys
from pathlib import Path

_LOCKED = re.compile(r"^[A-Za-z0-9][\w.\-]*(?:\[[^]]*\])?==", re.MULTILINE)
_FOUND = re.compile(r"^(?:Collecting|Requirement already satisfied: )\s*(\S+)")


def main(file: Path) -> int:
    """Install it; pip's exit code. What pip says is shown when it fails."""
    total = len(_LOCKED.findall(file.read_text(encoding="utf-8")))
    command = [
        sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
        "--progress-bar", "off", "--require-hashes", "-r", str(file),
    ]  # fmt: skip
    said, seen, told = [], 0, 0
    with subprocess.Popen(  # noqa: S603 - our own words
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        for line in pip.stdout or ():
            said.append(line)
            if _FOUND.match(line):
                seen = min(seen + 1, total)
                told = _tell(f"{file.name}: {seen} of up to {total} packages", seen, total, told)
            elif line.startswith("Installing collected"):
                _tell(f"{file.name}: all there, now unpacking …", total, total, told)
    _end()
    if pip.returncode:
        sys.stderr.writelines(said)
    return pip.returncode


def _tell(text: str, seen: int, total: int, told: int) -> int:
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\x1b[K{text}")
        sys.stdout.flush()
        return told
    quarter = seen * 4 // total if total else 4
    if quarter > told or text.endswith("…"):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    return max(quarter, told)


def _end() -> None:
    if sys.stdout.isatty():
        sys.stdout.write("\n")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
