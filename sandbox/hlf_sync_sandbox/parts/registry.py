"""Apicurio Registry 3.3 with a file database, so that schema ids stay what they were after a
restart.
"""

import signal

import httpx

from hlf_sync_sandbox.parts import class_archive
from hlf_sync_sandbox.parts.java import java
from hlf_sync_sandbox.parts.part import Site, Spawn
from hlf_sync_sandbox.ports import HOST
from hlf_sync_sandbox.process import Process
from hlf_sync_sandbox.unpack import unpacked

_HEAP_MB = 256

# Where Confluent's clients find schemas, and where Apicurio's own converter (version 2 of its
# interface) finds them.
CONFLUENT_PATH = "/apis/ccompat/v7"
CONVERTER_PATH = "/apis/registry/v2"


class Registry:
    """The schema registry."""

    name = "registry"
    port_names: tuple[str, ...] = ("registry", "registry_management")
    deadline_s = 90.0
    stop_signal: int = signal.SIGTERM
    stop_deadline_s = 10.0

    def prepare(self, site: Site, spawn: Spawn) -> None:  # noqa: ARG002 - the protocol's signature
        """A folder for its database."""
        site.layout.folder(self.name).mkdir(exist_ok=True, mode=0o700)

    def start(self, site: Site, spawn: Spawn) -> Process:
        """Quarkus, on loopback only (its management port would be 0.0.0.0:9000)."""
        program = unpacked(site.jars[self.name][0], site.cache) / "quarkus-run.jar"
        environ = {
            "QUARKUS_HTTP_HOST": HOST,
            "QUARKUS_HTTP_PORT": str(site.ports["registry"]),
            "QUARKUS_MANAGEMENT_HOST": HOST,
            "QUARKUS_MANAGEMENT_PORT": str(site.ports["registry_management"]),
            # Relative, so that no character of the state folder can mean something in the address.
            # WRITE_DELAY=0: a killed registry must not forget an id that it gave out.
            "APICURIO_DATASOURCE_URL": (
                "jdbc:h2:file:./registry;WRITE_DELAY=0;DB_CLOSE_ON_EXIT=FALSE"
            ),
            "APICURIO_STORAGE_SQL_KIND": "h2",
        }
        folder = site.layout.folder(self.name)
        flags = class_archive.flags(self.name, str(program), site.cache, folder)
        return spawn(
            self.name, java(_HEAP_MB, *flags, "-jar", str(program)), cwd=folder, environ=environ
        )

    def is_healthy(self, site: Site) -> bool:
        """Whether it lists its subjects."""
        try:
            return httpx.get(
                f"{confluent_url(site)}/subjects", timeout=2, trust_env=False
            ).is_success
        except httpx.HTTPError:
            return False


def confluent_url(site: Site) -> str:
    """The Confluent-compatible root."""
    return f"http://{site.address('registry')}{CONFLUENT_PATH}"


def converter_url(site: Site) -> str:
    """What the Avro converter is given."""
    return f"http://{site.address('registry')}{CONVERTER_PATH}"
