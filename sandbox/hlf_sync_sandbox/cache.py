"""The folder of what was downloaded, shared by all sandboxes of a user, and the lock between
processes.

Called by download, unpack and the Java parts. Files appear in it by an atomic rename only, complete
and verified.
"""

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

VARIABLE = "HLF_SYNC_CACHE"

_PAUSE_S = 0.1


def cache_root() -> Path:
    """`HLF_SYNC_CACHE`, or hlf-sync in the user's cache folder."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE]).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "hlf-sync"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hlf-sync"


@contextmanager
def locked(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold an exclusive lock on a file. The kernel gives it back when the process dies, however it
    dies.

    `on_wait` is called once when another process holds it; then it is waited for without end.
    """
    file = _take(path)
    if file is None and on_wait:
        on_wait()
    # Asked again rather than blocked in flock: a signal then always reaches Python within a moment.
    while file is None:
        time.sleep(_PAUSE_S)
        file = _take(path)
    with file:
        yield


def _take(path: Path) -> IO[str] | None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = path.open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its last holder may have removed it (`down --wipe`): then this is a lock on a file that
        # nobody else will find.
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
    except OSError as error:
        if not isinstance(error, BlockingIOError):
            file.close()
            raise
    file.close()
    return None
