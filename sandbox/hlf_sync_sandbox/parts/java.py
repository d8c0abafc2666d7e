"""How the Java parts are run: the runtime from a wheel, flags for a quick start, class paths from
the cache.
"""

from collections.abc import Iterable
from pathlib import Path

from hlf_sync_sandbox.jars import Jar
from hlf_sync_sandbox.parts.class_archive import COLLECTOR, java_program
from hlf_sync_sandbox.resources import resource

LOGGING = resource("config/log4j2.properties")

_FLAGS = (
    COLLECTOR,
    # The quick compiler only: 9 s instead of 14 from nothing to a running connector on two cores.
    # Its price is throughput under long load.
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Xshare:auto",
    # What it says about class archives would fill the log.
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
    "-Djava.awt.headless=true",
)


def class_path(jars: Iterable[Jar], cache: Path) -> str:
    """For the CLASSPATH variable: jars in the order of the lock file."""
    return ":".join(str(cache / "maven" / jar.path) for jar in jars)


def java(heap_mb: int, *arguments: str) -> list[str]:
    """A command line."""
    return [
        java_program(),
        *_FLAGS,
        f"-Xmx{heap_mb}m",
        f"-Dlog4j2.configurationFile={LOGGING}",
        *arguments,
    ]


def write_properties(path: Path, values: dict[str, str]) -> None:
    """A Java properties file."""
    path.write_text(
        "".join(f"{name}={_escape(value)}\n" for name, value in values.items()), encoding="utf-8"
    )


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\")
