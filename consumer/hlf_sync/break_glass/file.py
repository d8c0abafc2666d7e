"""Files that only their owner may read, and that are on the disk when we say so."""

import os
from pathlib import Path

from hlf_sync.errors import SettingsError


def write_private(path: Path, content: bytes) -> None:
    """Write the file whole or not at all, mode 0600, flushed to the disk."""
    half = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise SettingsError(f"{path}: cannot be written ({error.strerror})") from None


def sync_folder(folder: Path) -> None:
    """Flush the folder's entries, so that a new file's name outlives a crash too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
