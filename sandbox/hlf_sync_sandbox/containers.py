"""PostgreSQL, Kafka and the registry as containers, made to be what the wheels' parts are: the same
settings, ports of one `Site`, set up by the same steps.

The only owner of testcontainers, which is an extra (`hlf-sync-sandbox[testing]`). Called by
`hlf_sync_sandbox.testing`. Starts containers on this machine's engine and stops them again; must not
choose between containers and wheels.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

from hlf_sync_sandbox import environment, jars, ports, provision
from hlf_sync_sandbox.cache import cache_root
from hlf_sync_sandbox.errors import PartError
from hlf_sync_sandbox.layout import Layout, keep_passwords
from hlf_sync_sandbox.parts import kafka, postgres, registry
from hlf_sync_sandbox.parts.part import Part, Site
from hlf_sync_sandbox.ports import HOST
from hlf_sync_sandbox.postgres_files import SUPERUSER

# The newest security release, as docker-compose.yml has it.
POSTGRES_IMAGE = "postgres:18.6"
_REGISTRY_IMAGE = "quay.io/apicurio/apicurio-registry"
_KAFKA_IMAGE = "apache/kafka"
_PAUSE_S = 0.1
# Longer than a part of the sandbox is waited for: an engine is often there where much else runs.
_DEADLINE_S = 180.0
# What the sandbox's own PostgreSQL is given, as far as the image does not say it itself.
_POSTGRES_SETTINGS = ("wal_level", "track_commit_timestamp", "max_wal_senders")
_PARTS: Mapping[str, Part] = {
    "postgres": postgres.Postgres(),
    "kafka": kafka.Kafka(),
    "registry": registry.Registry(),
}


def engine_answers() -> bool:
    """Whether a container engine of this machine can be used: what it publishes must be reachable
    at 127.0.0.1.
    """
    try:
        client = DockerClient()
        client.client.ping()
    except Exception:  # noqa: BLE001 - the engine's library raises whatever its transport does
        return False
    return client.host() in {"localhost", HOST}


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Bring the three up, set up, and give their settings; gone afterwards, data and all. Raises
    `SandboxError`.
    """
    layout = Layout.of(folder)
    layout.make()
    site = Site(
        layout=layout,
        cache=cache_root(),
        ports=ports.keep(layout.ports),
        passwords=keep_passwords(layout.passwords, (SUPERUSER, *provision.ROLES)),
        jars=jars.load(),
    )
    made = {"postgres": _postgres(site), "kafka": _kafka(site), "registry": _registry(site)}
    with ExitStack() as stack:
        for name, container in made.items():
            _start(name, container)
            stack.callback(container.stop)
        for name, container in made.items():
            _await(site, _PARTS[name], container)
        provision.provision_database(site)
        provision.provision_topics(site)
        yield environment.settings(site, _PARTS)


def _postgres(site: Site) -> DockerContainer:
    settings = [f"{name}={postgres.SETTINGS[name]}" for name in _POSTGRES_SETTINGS]
    command = [word for setting in settings for word in ("-c", setting)]
    container = DockerContainer(POSTGRES_IMAGE).with_command(command)
    container.with_env("POSTGRES_PASSWORD", site.passwords[SUPERUSER])
    return _published(container, 5432, site.ports["postgres"])


def _kafka(site: Site) -> DockerContainer:
    """It listens on the same port inside and outside: it calls itself by the advertised address."""
    port = site.ports["kafka"]
    settings = {
        **kafka.SETTINGS,
        "listeners": f"PLAINTEXT://:{port},CONTROLLER://:9093",
        "advertised.listeners": f"PLAINTEXT://{site.address('kafka')}",
        "controller.quorum.voters": "1@localhost:9093",
    }
    container = DockerContainer(f"{_KAFKA_IMAGE}:{_version(site, 'kafka', 'kafka_2.13')}")
    for name, value in settings.items():
        container.with_env(f"KAFKA_{name.upper().replace('.', '_')}", value)
    return _published(container, port, port)


def _registry(site: Site) -> DockerContainer:
    version = _version(site, "registry", "apicurio-registry-app")
    container = DockerContainer(f"{_REGISTRY_IMAGE}:{version}")
    return _published(container, 8080, site.ports["registry"])


def _version(site: Site, section: str, artifact: str) -> str:
    """The one of the lock file: wheels and containers must not differ."""
    return next(jar.version for jar in site.jars[section] if jar.artifact == artifact)


def _published(container: DockerContainer, inside: int, outside: int) -> DockerContainer:
    """On the loopback interface alone."""
    container.ports[f"{inside}/tcp"] = (HOST, outside)  # type: ignore[assignment]  # docker-py takes an address, too
    return container


def _start(name: str, container: DockerContainer) -> None:
    try:
        container.start()
    except Exception as error:
        raise PartError(
            name,
            f"the container of {container.image} did not start: {type(error).__name__}",
            "pull the image by hand to see why; or set HLF_SYNC_TEST_STACK=wheels",
        ) from error


def _await(site: Site, part: Part, container: DockerContainer) -> None:
    end_s = time.monotonic() + _DEADLINE_S
    while not part.is_healthy(site):
        if time.monotonic() > end_s:
            said = b"".join(container.get_logs()).decode("utf-8", "replace")
            raise PartError(
                part.name,
                f"the container was not healthy within {_DEADLINE_S:.0f} s",
                "set HLF_SYNC_TEST_STACK=wheels to do without containers",
                said[-2000:],
            )
        time.sleep(_PAUSE_S)
