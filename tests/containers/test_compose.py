"""docker-compose.yml, brought up and used."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
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
        try:
            found = [_status(container) for container in _workers()]
        except AssertionError:  # one is starting again
            found = []
        owned = sum(len(status["assignment"]) for status in found)
        if owned == 12 and found and all(status["assignment"] for status in found):
            return found
        assert time.monotonic() < end_s, f"{owned} of 12 partitions are owned"
        time.sleep(0.5)


def _kill(service: str) -> None:
    """SIGKILL to its first process, from the engine's own processes: from inside, a first process
    is not to be killed, and what the engine kills itself it does not start again.
    """
    container = docker("compose", "--project-directory", str(ROOT), "ps", "-q", service).split()[0]
    pid, before = docker("inspect", "-f", "{{.State.Pid}} {{.State.StartedAt}}", container).split()
    killer = ("run", "--rm", "--pid=host", "--user=0", "--entrypoint=/usr/bin/python3")
    docker(*killer, "hlf-sync:0.1.0", "-c", f"import os; os.kill({pid}, 9)")
    _until(
        lambda: (
            docker("inspect", "-f", "{{.State.Running}} {{.State.StartedAt}}", container)
            not in {f"true {before}", f"false {before}"}
        ),
        f"{service} was started again",
        30,
    )


def _sql(statement: str) -> str:
    command = ("compose", "--project-directory", str(ROOT), "exec", "-T", "postgres")
    return docker(*command, "psql", "-U", "postgres", "-d", "mentors", "-Atc", statement)


def _turned_over() -> str:
    """A mentor whose status was changed just now, as soon as the database takes it."""
    statement = (
        "UPDATE app.mentor SET status = CASE status WHEN 'paused' THEN 'active' ELSE 'paused' END"
        " WHERE id = (SELECT m.id FROM app.mentor m JOIN hlf_sync.mentor_ledger l ON l.mentor_id"
        " = m.id JOIN app.certification c ON c.mentor_id = m.id AND c.expires_at > now() + interval"
        " '1 day' WHERE l.state = 'in_sync' AND m.status IN ('active', 'paused') ORDER BY m.id"
        " LIMIT 1) RETURNING id"
    )
    found: list[str] = []

    def is_taken() -> bool:
        try:
            found.append(_sql(statement).split()[0])
        except (AssertionError, IndexError):
            return False
        return True

    _until(is_taken, "the database takes a change", 60)
    return found[0]


def _is_in_sync(mentor: str) -> bool:
    """Whether the ledger says what the facts say."""
    try:
        return (
            _sql(
                "SELECT l.state = 'in_sync' AND (l.applied = 'hidden') = (m.status = 'paused') FROM"
                " app.mentor m JOIN hlf_sync.mentor_ledger l ON l.mentor_id = m.id WHERE m.id ="
                f" '{mentor}'"
            )
            == "t"
        )
    except AssertionError:
        return False


def _until(is_so: Callable[[], bool], what: str, deadline_s: float) -> None:
    end_s = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < end_s, f"not within {deadline_s:.0f} s: {what}"
        time.sleep(0.3)


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
    _kill("worker")
    assert len(_until_all_owned()) == 2


@pytest.mark.parametrize("service", ["kafka", "connect", "postgres", "registry", "dynamics"])
@pytest.mark.requirement("R01")
def test_a_part_that_is_killed_comes_back_and_changes_arrive(
    compose: DockerCompose, service: str
) -> None:
    """As when a pod is killed or a node drained: nobody lends a hand."""
    assert compose
    _kill(service)
    begun_s = time.monotonic()
    mentor = _turned_over()
    _until(lambda: _is_in_sync(mentor), f"{mentor} is right after {service} was killed", 180)
    print(f"{service} killed: right after {time.monotonic() - begun_s:.1f} s")  # noqa: T201 - measured


def test_a_worker_delivers_soon_after_its_container_starts(compose: DockerCompose) -> None:
    """Aim on a quiet machine: 4 s from the container's start to the first call's claim."""
    assert compose
    docker("compose", "--project-directory", str(ROOT), "stop", "worker")
    mentor = _turned_over()
    (first, *_) = docker("compose", "--project-directory", str(ROOT), "ps", "-aq", "worker").split()
    docker("start", first)
    _until(lambda: _is_in_sync(mentor), f"{mentor} is right", 60)
    started = docker("inspect", "-f", "{{.State.StartedAt}}", first)
    took_s = float(
        _sql(
            f"SELECT extract(epoch FROM max(started_at) - '{started}'::timestamptz)"
            f" FROM hlf_sync.delivery_attempt WHERE mentor_id = '{mentor}'"
        )
    )
    print(f"container start to first call: {took_s:.1f} s")  # noqa: T201 - measured
    docker("compose", "--project-directory", str(ROOT), "start", "worker")
    assert took_s <= 15


def test_a_worker_stays_well_below_its_memory_limit(compose: DockerCompose) -> None:
    """256 MiB; the most that any of them ever had, after the story's bursts and the kills."""
    assert compose
    _until_all_owned()
    code = "print(*[x.split()[1] for x in open('/proc/1/status') if x.startswith('VmHWM')])"
    peaks = [int(docker("exec", one, "/usr/bin/python3", "-c", code)) // 1024 for one in _workers()]
    print("peak memory of the workers, MiB:", *peaks)  # noqa: T201 - measured
    assert max(peaks) < 200


def test_the_web_page_answers_on_its_port(compose: DockerCompose) -> None:
    """The coordinators' service, with the address that signs one in."""
    assert compose
    with urllib.request.urlopen("http://127.0.0.1:8090/healthz", timeout=10) as answer:
        assert answer.status == 200
    done = subprocess.run(
        ["docker", "compose", "--profile", "demo", "run", "--rm", "--no-deps", "link"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    assert "http://127.0.0.1:8090" in done.stdout


@pytest.mark.requirement("R82")
def test_the_database_lets_nobody_copy_the_cluster(compose: DockerCompose) -> None:
    """Debezium's role streams, and no role at all gets a physical replication connection."""
    assert compose
    for role in ("hlf_cdc", "postgres"):
        dsn = f"postgresql://{role}:only-here@127.0.0.1:15432/mentors"
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError, match="replication connection"):
            psycopg.connect(f"{dsn}?replication=true")


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
    """Volumes stay. The way up, with the images there, takes 40 s at most on two quiet cores."""
    assert compose
    before = _sql("SELECT count(*) FROM app.mentor")
    docker("compose", "--project-directory", str(ROOT), "down")
    begun_s = time.monotonic()
    docker("compose", "--project-directory", str(ROOT), "up", "--wait")
    print(f"down, then up --wait: {time.monotonic() - begun_s:.1f} s")  # noqa: T201 - measured
    assert _sql("SELECT count(*) FROM app.mentor") == before != "0"


def test_the_files_that_compose_mounts_exist() -> None:
    """A missing one would be made as an empty folder by the engine."""
    text = (ROOT / "docker-compose.yml").read_text()
    for line in text.splitlines():
        path = line.strip().removeprefix("- ").split(":")[0]
        if path.startswith("./"):
            assert Path(ROOT / path).exists(), path
