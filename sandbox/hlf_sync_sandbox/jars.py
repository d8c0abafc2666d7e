"""The jars that the sandbox runs: exact coordinates with SHA-256, read from `jars.lock`.

Called by `hlf_sync_sandbox.download` and the parts. Knows no address: where jars come from is
`hlf_sync_sandbox.mirror`'s matter. `python -m hlf_sync_sandbox.jar_lock` makes the lock file
anew.
"""

from dataclasses import dataclass
from pathlib import Path

LOCK_FILE = Path(__file__).with_name("jars.lock")


@dataclass(frozen=True)
class Jar:
    """One file of Maven Central. `size` in bytes, for progress bars and a cheap look at a cached
    file.
    """

    group: str
    artifact: str
    version: str
    classifier: str
    packaging: str
    sha256: str
    size: int

    @property
    def coordinate(self) -> str:
        """`group:artifact:version[:classifier]:packaging`."""
        parts = (self.group, self.artifact, self.version, self.classifier, self.packaging)
        return ":".join(part for part in parts if part)

    @property
    def file_name(self) -> str:
        """As Maven names it."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{classifier}.{self.packaging}"

    @property
    def path(self) -> str:
        """Relative to any Maven repository."""
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.file_name}"


def read_line(line: str) -> Jar:
    """One line of the lock file. Raises `ValueError` when it is none."""
    coordinate, digest, size = line.split()
    algorithm, _, sha256 = digest.partition(":")
    group, artifact, version, *classifier, packaging = coordinate.split(":")
    if algorithm != "sha256" or len(sha256) != 64 or len(classifier) > 1:  # noqa: PLR2004 - hexadecimal digits
        message = f"not a line of jars.lock: {line}"
        raise ValueError(message)
    return Jar(
        group, artifact, version, classifier[0] if classifier else "", packaging, sha256, int(size)
    )


def write_line(jar: Jar) -> str:
    """The inverse of `read_line`."""
    return f"{jar.coordinate} sha256:{jar.sha256} {jar.size}"


def read_lock(text: str) -> dict[str, tuple[Jar, ...]]:
    """Section name → its jars, in the order of the file (the class path's order)."""
    sections: dict[str, list[Jar]] = {}
    section = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line.strip("[]")
            sections[section] = []
        elif line and not line.startswith("#"):
            sections[section].append(read_line(line))
    return {name: tuple(jars) for name, jars in sections.items()}


def load() -> dict[str, tuple[Jar, ...]]:
    """The lock file of this version: sections kafka, connect, converter, debezium, registry."""
    return read_lock(LOCK_FILE.read_text(encoding="utf-8"))
