"""The images and the compose project of this suite: made once, taken down at the end.

Skipped, and said so in one line, where no Docker engine answers or HLF_SYNC_TEST_CONTAINERS is not
set. Base images are pulled where the hub answers; where it does not, stand-ins of the same names are
made (tests/containers/standins.py), and the suite says which.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from testcontainers.compose import DockerCompose

from tests.containers import standins

ROOT = Path(__file__).parents[2]
# Of its own, since its volumes are forgotten: nobody's running project may be meant.
os.environ["COMPOSE_PROJECT_NAME"] = "hlf-sync-test"
_TARGETS = {
    "worker": "hlf-sync:0.1.0",
    "sandbox": "hlf-sync-sandbox:0.1.0",
    "connect": "hlf-sync-connect:0.1.0",
}


def docker(*arguments: str) -> str:
    """One command of the client; its output."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def _has_engine() -> bool:
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nothing here runs by itself: it takes minutes and an engine."""
    asked = os.environ.get("HLF_SYNC_TEST_CONTAINERS")
    reason = (
        "containers: run by `make containers`"
        if not asked
        else ""
        if _has_engine()
        else "containers: no Docker engine answers"
    )
    for item in items:
        if reason and "tests/containers" in str(item.path):
            item.add_marker(pytest.mark.skip(reason=reason))


def _pulled(tag: str) -> bool:
    known = subprocess.run(["docker", "image", "inspect", tag], capture_output=True, check=False)
    if known.returncode == 0:
        return True
    return not subprocess.run(
        ["docker", "pull", "-q", tag], capture_output=True, check=False
    ).returncode


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """Target → tag."""
    missing = [tag for tag in standins.NAMES if not _pulled(tag)]
    if missing:
        print("stand-ins for", *missing)  # noqa: T201 - which images were real must be seen
        standins.main(missing)
    for target, tag in _TARGETS.items():
        docker("build", "--network", "host", "--target", target, "-t", tag, str(ROOT))
    return _TARGETS


@pytest.fixture(scope="session")
def compose(images: dict[str, str]) -> Iterator[DockerCompose]:
    """`docker compose up --wait`, nothing else; without the data of an earlier run."""
    assert images
    project = DockerCompose(ROOT, wait=True)
    _forget()
    begun_s = time.monotonic()
    try:
        project.start()
        print(f"cold start, images present: {time.monotonic() - begun_s:.1f} s")  # noqa: T201 - measured
        yield project
    finally:
        _forget()


def _forget() -> None:
    """Containers, those of the profiles too, and data."""
    file = str(ROOT / "docker-compose.yml")
    docker("compose", "--file", file, "--profile", "*", "down", "--volumes", "--remove-orphans")
