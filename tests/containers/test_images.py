"""What the image `worker` is and holds."""

import json
import subprocess

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from tests.containers.conftest import docker

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]

_MIB = 1024 * 1024


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", "run", "--rm", *arguments], capture_output=True, text=True, check=False
    )


def test_the_worker_is_small(images: dict[str, str]) -> None:
    """180 MB unpacked at most."""
    size = int(docker("image", "inspect", "-f", "{{.Size}}", images["worker"]))
    assert size <= 180_000_000, f"{size / 1e6:.0f} MB"


def test_the_worker_speaks_the_pages_languages(images: dict[str, str]) -> None:
    """The other languages' dates are left out of the image."""
    code = (
        "from datetime import datetime, timezone as z; from zoneinfo import ZoneInfo;"
        " from hlf_sync.web.page.words import LANGUAGES, Words;"
        " at = datetime(2027, 5, 17, 10, tzinfo=z.utc); now = datetime(2028, 1, 1, tzinfo=z.utc);"
        " said = [Words(one, ZoneInfo('Europe/Oslo')) for one in LANGUAGES];"
        " print([(one.clock(at, now), one.ago(at, now)) for one in said])"
    )
    done = _run("--entrypoint", "/usr/bin/python3", images["worker"], "-c", code)
    assert done.returncode == 0, done.stderr[-1000:]
    assert "17 May 2027" in done.stdout
    assert "17. mai 2027" in done.stdout


def test_the_worker_has_no_shell_and_no_tools(images: dict[str, str]) -> None:
    """What a break-in would use first."""
    for program in ("sh", "bash", "apt-get", "gcc", "pip"):
        done = _run("--entrypoint", program, images["worker"], "--version")
        assert done.returncode == 127, program


def test_a_command_is_typed_as_everywhere_else(images: dict[str, str]) -> None:
    """`docker compose exec worker hlf-sync status`; the help calls itself so, too."""
    done = _run("--entrypoint", "hlf-sync", images["worker"], "status", "--help")
    assert done.returncode == 0, done.stderr[-1000:]
    assert "Usage: hlf-sync status" in done.stdout


def test_the_worker_has_nothing_of_the_sandbox(images: dict[str, str]) -> None:
    """Emulator, demo and development keys stay out of production."""
    done = _run(images["worker"], "sandbox", "--help")
    assert done.returncode == 2
    assert "No such command" in done.stderr


@pytest.mark.parametrize("user", ["65532", "1000680000"])
def test_it_runs_as_any_user_on_a_read_only_root(images: dict[str, str], user: str) -> None:
    """Kubernetes and OpenShift choose the number."""
    done = _run(
        "--read-only", "--cap-drop", "ALL", "--user", user, images["worker"], "doctor", "--json"
    )
    found = json.loads(done.stdout)
    assert {check["verdict"] for check in found["checks"]} <= {"skipped", "fail"}


def test_wrong_settings_are_one_line_and_exit_code_2(images: dict[str, str]) -> None:
    """Also in a container."""
    done = _run(images["worker"], "run")
    assert done.returncode == 2
    assert "HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_is_not_root_and_says_what_it_is(images: dict[str, str]) -> None:
    """Labels, user, health check."""
    (found,) = json.loads(docker("image", "inspect", images["worker"]))
    assert found["Config"]["User"] == "65532:65532"
    assert found["Config"]["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert found["Config"]["Healthcheck"]["Test"][:2] == ["CMD", "/usr/bin/python3"]


def _purls(bill: str) -> set[str]:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    return {one["purl"].split("?")[0] for one in json.loads(bill)["components"]}


def test_the_worker_carries_its_bill_of_materials(images: dict[str, str]) -> None:
    """Every wheel that Python finds there, and what of Debian lies below."""
    code = (
        "import json; from importlib.metadata import distributions;"
        " print(json.dumps([(one.name, one.version) for one in distributions()]));"
        " print(open('/usr/share/sbom/hlf-sync.cdx.json').read())"
    )
    done = _run("--entrypoint", "/usr/bin/python3", images["worker"], "-c", code)
    assert done.returncode == 0, done.stderr[-1000:]
    installed, bill = done.stdout.split("\n", 1)
    wheels = {f"pkg:pypi/{canonicalize_name(name)}@{v}" for name, v in json.loads(installed)}
    listed = _purls(bill)
    assert {one for one in listed if one.startswith("pkg:pypi/")} == wheels
    packages = {one.split("@")[0] for one in listed if one.startswith("pkg:deb/")}
    assert packages >= {f"pkg:deb/debian/{name}" for name in ("libc6", "python3.11-minimal")}


def test_connect_carries_its_bill_of_materials(images: dict[str, str]) -> None:
    """Debezium, the converter, and Kafka's own jars."""
    done = _run(
        "--entrypoint", "cat", images["connect"], "/usr/share/sbom/hlf-sync-connect.cdx.json"
    )
    names = {one.split("@")[0] for one in _purls(done.stdout)}
    assert {
        "pkg:maven/io.debezium/debezium-connector-postgres",
        "pkg:maven/io.apicurio/apicurio-registry-serdes-avro-serde",
        # Their jars do not say whose they are.
        "pkg:maven/kafka-clients",
        "pkg:maven/postgresql",
    } <= names
