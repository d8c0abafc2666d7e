"""`hlf_sync_sandbox.testing`, the pytest plugin for users, with a container engine."""

from pathlib import Path

import pytest
import yaml
from hlf_sync_sandbox import containers

from tests.containers.conftest import ROOT, docker
from tests.fixtures import users_pytest

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]


def test_a_users_test_runs_on_containers_and_leaves_none(
    images: dict[str, str], tmp_path: Path
) -> None:
    """The same test as on the wheels. The reaper's image can be had from the hub alone."""
    assert images
    tmp_path.chmod(0o711)
    before = docker("ps", "-aq")
    users_pytest.run("containers", tmp_path, TESTCONTAINERS_RYUK_DISABLED="true")
    assert docker("ps", "-aq") == before


def test_the_image_is_the_one_of_compose() -> None:
    """One version of PostgreSQL to care for."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert services["postgres"]["image"] == containers.POSTGRES_IMAGE
