"""Makes `jars.lock`: resolves what the sandbox runs, with all dependencies, by Maven, and writes
coordinates, SHA-256 and size.

Called by a developer who changes a version (`python -m hlf_sync_sandbox.jar_lock`); needs `mvn`,
which nothing else does. Must not write an address: which repository answered is the developer's
Maven settings' matter.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hlf_sync_sandbox.jars import LOCK_FILE, Jar, write_line

KAFKA = "4.3.1"
LOG4J = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4:jar"

_LISTED = re.compile(r"^\s+(?P<coordinate>[^\s]+?):(?:compile|runtime)(?:\s.*)?$")
_HEAD = """\
# The jars of the sandbox: group:artifact:version[:classifier]:packaging sha256:DIGEST BYTES. No addresses: a mirror serves as well.
# Made by `python -m hlf_sync_sandbox.jar_lock`; docker-compose.yml names the same versions.
"""


@dataclass(frozen=True)
class Section:
    """What is run together on one class path, or unpacked together."""

    name: str
    roots: tuple[str, ...]
    transitive: bool = True
    without: str = ""


SECTIONS = (
    Section("kafka", (f"org.apache.kafka:kafka_2.13:{KAFKA}:jar", LOG4J)),
    Section(
        "connect",
        (
            *(
                f"org.apache.kafka:connect-{name}:{KAFKA}:jar"
                for name in ("runtime", "json", "transforms")
            ),
            LOG4J,
        ),
    ),
    # Connect brings its own Kafka clients; a second copy in the plug-in would only lie in the way.
    Section(
        "converter",
        ("io.apicurio:apicurio-registry-utils-converter:2.6.13.Final:jar",),
        without="org.apache.kafka",
    ),
    Section(
        "debezium",
        ("io.debezium:debezium-connector-postgres:3.7.0.Final:plugin:tar.gz",),
        transitive=False,
    ),
    Section("registry", ("io.apicurio:apicurio-registry-app:3.3.3:all:tar.gz",), transitive=False),
)


def write_pom(section: Section) -> str:
    """A Maven project whose dependencies are the section's roots."""
    dependencies = []
    for root in section.roots:
        group, artifact, version, *classifier, packaging = root.split(":")
        fields = {"groupId": group, "artifactId": artifact, "version": version, "type": packaging}
        if classifier:
            fields["classifier"] = classifier[0]
        lines = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
        exclude = section.without or ("*" if not section.transitive else "")
        if exclude:
            lines += f"<exclusions><exclusion><groupId>{exclude}</groupId><artifactId>*</artifactId></exclusion></exclusions>"
        dependencies.append(f"<dependency>{lines}</dependency>")
    return (
        "<project><modelVersion>4.0.0</modelVersion><groupId>sandbox</groupId>"
        f"<artifactId>{section.name}</artifactId><version>1</version>"
        f"<dependencies>{''.join(dependencies)}</dependencies></project>"
    )


def read_listing(text: str) -> list[str]:
    """Maven's `dependency:list` (group:artifact:packaging[:classifier]:version:scope) → our
    coordinates, without twins.
    """
    found: dict[str, None] = {}
    for line in text.splitlines():
        match = _LISTED.match(line)
        if match:
            group, artifact, packaging, *classifier, version = match["coordinate"].split(":")
            found[":".join((group, artifact, version, *classifier, packaging))] = None
    return list(found)


def resolve(section: Section, folder: Path, maven: str) -> list[Jar]:
    """Ask Maven for the section's files and measure each."""
    project = folder / section.name
    project.mkdir()
    (project / "pom.xml").write_text(write_pom(section), encoding="utf-8")
    repository = folder / "repository"
    plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:list"
    options = (
        "-B",
        "-ntp",
        f"-Dmaven.repo.local={repository}",
        "-DincludeScope=runtime",
        "-DoutputFile=list.txt",
    )
    subprocess.run([maven, *options, plugin], cwd=project, check=True, stdout=subprocess.DEVNULL)
    coordinates = read_listing((project / "list.txt").read_text(encoding="utf-8"))
    return [_measure(coordinate, repository) for coordinate in coordinates]


def _measure(coordinate: str, repository: Path) -> Jar:
    group, artifact, version, *classifier, packaging = coordinate.split(":")
    jar = Jar(group, artifact, version, classifier[0] if classifier else "", packaging, "", 0)
    content = (repository / jar.path).read_bytes()
    return Jar(
        group,
        artifact,
        version,
        jar.classifier,
        packaging,
        hashlib.sha256(content).hexdigest(),
        len(content),
    )


def main() -> int:
    """`python -m hlf_sync_sandbox.jar_lock`."""
    maven = shutil.which("mvn")
    if maven is None:
        sys.stderr.write("python -m hlf_sync_sandbox.jar_lock needs mvn on the PATH\n")
        return 2
    lines = [_HEAD]
    with tempfile.TemporaryDirectory() as folder:
        for section in SECTIONS:
            jars = resolve(section, Path(folder), maven)
            sys.stderr.write(
                f"{section.name}: {len(jars)} files, {sum(jar.size for jar in jars) / 1e6:.1f} MB\n"
            )
            lines.append(f"\n[{section.name}]\n" + "".join(f"{write_line(jar)}\n" for jar in jars))
    LOCK_FILE.write_text("".join(lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
