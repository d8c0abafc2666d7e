"""docker-compose.yml, brought up and used."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from testcontainers.compose import DockerCompose

from tests.containers.conftest import ROOT, docker

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]


def _workers() -> list[str]:
    return docker("compose", "--project-directory", str(ROOT), "ps", "-q", "worker").split()


def _status(container: str) -> dict[str, Any]:
    code = "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8080); c.request('GET', '/status'); print(c.getresponse().read().decode())"
    found: dict[str, Any] = json.loads(docker("exec", container, "/usr/bin/python3", "-c", code))
    return found


def _until_all_owned(deadline_s: float = 90) -> list[dict[str, Any]]:
    end_s = time.monotonic() + deadline_s
    while True:
        found = [_status(container) for container in _workers()]
        owned = sum(len(status["assignment"]) for status in found)
        if owned == 12 and all(status["assignment"] for status in found):
            return found
        assert time.monotonic() < end_s, f"{owned} of 12 partitions are owned"
        time.sleep(0.5)


def test_two_workers_share_the_partitions_and_the_story_is_told(compose: DockerCompose) -> None:
    """`up --wait`, then the demo: every mentor equal at the end."""
    assert compose
    assert len(_until_all_owned()) == 2
    done = subprocess.run(
        ["docker", "compose", "--profile", "demo", "run", "--rm", "--no-deps", "demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "all equal" in done.stdout


def test_a_worker_that_is_killed_comes_back_and_the_others_take_over(
    compose: DockerCompose,
) -> None:
    """`restart: unless-stopped` does not count a kill from outside as wanted."""
    assert compose
    victim = _workers()[0]
    docker("exec", victim, "/usr/bin/python3", "-c", "import os; os.kill(1, 9)")
    docker("start", victim)
    assert len(_until_all_owned()) == 2


def test_a_worker_ends_within_its_grace(compose: DockerCompose) -> None:
    """SIGTERM reaches it, and what it had begun is finished: exit code 0."""
    assert compose
    container = _workers()[0]
    docker("stop", "-t", "25", container)
    assert docker("inspect", "-f", "{{.State.ExitCode}}", container) == "0"
    docker("start", container)


def test_up_again_changes_nothing_and_scales(compose: DockerCompose) -> None:
    """Every one-shot is safe to run again."""
    assert compose
    docker("compose", "--project-directory", str(ROOT), "up", "--wait", "--scale", "worker=3")
    assert len(_until_all_owned()) == 3


def test_data_outlive_down_and_up(compose: DockerCompose) -> None:
    """Volumes stay."""
    count = [
        "compose",
        "--project-directory",
        str(ROOT),
        "exec",
        "-T",
        "postgres",
        "psql",
        "-U",
        "postgres",
        "-d",
        "mentors",
        "-Atc",
        "SELECT count(*) FROM app.mentor",
    ]
    before = docker(*count)
    docker("compose", "--project-directory", str(ROOT), "down")
    docker("compose", "--project-directory", str(ROOT), "up", "--wait")
    assert compose
    assert docker(*count) == before != "0"


def test_the_files_that_compose_mounts_exist() -> None:
    """A missing one would be made as an empty folder by the engine."""
    text = (ROOT / "docker-compose.yml").read_text()
    for line in text.splitlines():
        path = line.strip().removeprefix("- ").split(":")[0]
        if path.startswith("./"):
            assert Path(ROOT / path).exists(), path
