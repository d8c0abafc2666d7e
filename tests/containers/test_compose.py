"""docker-compose.yml, brought up and used."""

import json
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from testcontainers.compose import DockerCompose

from tests.containers.conftest import ROOT, docker

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]


def _compose(*arguments: str) -> str:
    return docker("compose", "--file", str(ROOT / "docker-compose.yml"), *arguments)


def _workers() -> list[str]:
    return _compose("ps", "-q", "worker").split()


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


def _kill(*services: str) -> None:
    """SIGKILL to the first process of one container each, at once, from the engine's own processes:
    from inside, a first process is not to be killed, and what the engine kills itself it does not
    start again.
    """
    containers = [_compose("ps", "-q", service).split()[0] for service in services]
    format_ = "{{.State.Pid}} {{.State.StartedAt}}"
    found = [docker("inspect", "-f", format_, one).split() for one in containers]
    code = f"import os; [os.kill(pid, 9) for pid in ({','.join(pid for pid, _ in found)},)]"
    killer = ("run", "--rm", "--pid=host", "--user=0", "--entrypoint=/usr/bin/python3")
    docker(*killer, "hlf-sync:0.1.0", "-c", code)
    before = [started for _, started in found]
    _until(
        lambda: all(now != then for now, then in zip(_started(*containers), before, strict=True)),
        f"{', '.join(services)} started again",
        60,
    )


def _started(*containers: str) -> list[str]:
    return docker("inspect", "-f", "{{.State.StartedAt}}", *containers).split()


def _sql(statement: str) -> str:
    command = ("psql", "-U", "postgres", "-d", "mentors", "-Atc", statement)
    return _compose("exec", "-T", "postgres", *command)


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
    """As when a pod is killed: nobody lends a hand."""
    assert compose
    _kill(service)
    _await_recovery(service)


def _await_recovery(what: str) -> None:
    begun_s = time.monotonic()
    mentor = _turned_over()
    _until(lambda: _is_in_sync(mentor), f"{mentor} is right after {what} was killed", 180)
    print(f"{what} killed: right after {time.monotonic() - begun_s:.1f} s")  # noqa: T201 - measured


@pytest.mark.requirement("R01")
def test_a_whole_node_that_goes_comes_back_and_changes_arrive(compose: DockerCompose) -> None:
    """Broker, Connect and a worker lay on it and go at once, without a word."""
    assert compose
    _kill("kafka", "connect", "worker")
    _await_recovery("a node (kafka, connect, a worker)")
    assert len(_until_all_owned()) == 2


@pytest.mark.requirement("R66")
def test_a_secret_is_rotated_by_its_file_without_a_restart(compose: DockerCompose) -> None:
    """Dynamics lets in neither the old secret nor a token that it gave."""
    assert compose
    _until_all_owned()
    workers = _workers()
    before = _started(*workers)
    steer = ("exec", "-T", "dynamics", "hlf-sync", "sandbox", "dynamics")
    _compose(*steer, "secret", "a-new-one", "--state", "/state")
    _compose("run", "--rm", "--no-deps", "credentials")
    _compose(*steer, "revoke-tokens", "--state", "/state")
    mentor = _turned_over()
    _until(lambda: _is_in_sync(mentor), f"{mentor} is right with the new secret", 90)
    assert _started(*workers) == before


def test_a_worker_delivers_soon_after_its_container_starts(compose: DockerCompose) -> None:
    """Aim on a quiet machine: 4 s from the container's start to the first call's claim."""
    assert compose
    _compose("stop", "worker")
    mentor = _turned_over()
    (first, *_) = _compose("ps", "-aq", "worker").split()
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
    _compose("start", "worker")
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


def test_prometheus_finds_workers_and_web_and_takes_our_rules(compose: DockerCompose) -> None:
    """Of the profile `monitoring`; Grafana only where its image can be had."""
    assert compose
    _compose("--profile", "monitoring", "up", "--wait", "--no-deps", "prometheus")
    _until(lambda: _scraped() == {("hlf-sync", 2), ("hlf-sync-web", 1)}, "all are scraped", 60)
    rules = _prometheus("rules")["groups"]
    broken = [one for group in rules for one in group["rules"] if one["health"] == "err"]
    assert broken == []
    assert {group["name"] for group in rules} == _groups()
    (verdict,) = _prometheus("query?query=max(hlf_sync_group_lag_records)")["result"]
    assert float(verdict["value"][1]) >= 0


def _prometheus(path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:9090/api/v1/{path}", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)["data"]
    return found


def _scraped() -> set[tuple[str, int]]:
    """Job and how many of its targets answer."""
    targets = _prometheus("targets")["activeTargets"]
    return set(Counter(one["labels"]["job"] for one in targets if one["health"] == "up").items())


def _groups() -> set[str]:
    files = (ROOT / "deploy/monitoring/prometheus").glob("hlf-sync.*.yml")
    texts = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in files]
    return {group["name"] for text in texts for group in text["groups"]}


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
    _compose("up", "--wait", "--scale", "worker=3")
    assert len(_until_all_owned()) == 3


def test_data_outlive_down_and_up(compose: DockerCompose) -> None:
    """Volumes stay. The way up, with the images there, takes 40 s at most on two quiet cores."""
    assert compose
    before = _sql("SELECT count(*) FROM app.mentor")
    _compose("down")
    begun_s = time.monotonic()
    _compose("up", "--wait")
    print(f"down, then up --wait: {time.monotonic() - begun_s:.1f} s")  # noqa: T201 - measured
    assert _sql("SELECT count(*) FROM app.mentor") == before != "0"


def test_the_files_that_compose_mounts_exist() -> None:
    """A missing one would be made as an empty folder by the engine."""
    text = (ROOT / "docker-compose.yml").read_text()
    for line in text.splitlines():
        path = line.strip().removeprefix("- ").split(":")[0]
        if path.startswith("./"):
            assert Path(ROOT / path).exists(), path
