"""Alerts on a real Prometheus over real workers on the sandbox: each fault turns on what docs/runbook.md says of it, and it clears afterwards.

Opt-in, since it takes minutes and needs the binary `prometheus`: HLF_SYNC_TEST_ALERTS=1. Windows and limits of the rules are made short; the
expressions are those of deploy/monitoring.
"""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from typer.testing import CliRunner

from consumer.commands.app import app
from sandbox.stack import Sandbox
from tests.fixtures.prometheus import Watching, prometheus
from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import Town, found_town, until
from tests.rooms.test_monitoring import panel_queries

BINARY = shutil.which("prometheus")
pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(BINARY is None or "HLF_SYNC_TEST_ALERTS" not in os.environ, reason="opt-in: HLF_SYNC_TEST_ALERTS=1, and prometheus"),
    pytest.mark.timeout(900),
]
CONNECTOR = "connectors/hlf-mentor-cdc"
_BEHIND = {"HlfSyncStale", "HlfSyncWronglyShown", "HlfSyncWronglyHidden"}
_QUIET_S = 90.0


@pytest.fixture(scope="module")
def town(stack: Sandbox, source_side: SourceSide, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A town of its own in a fleet that nothing older is open in."""
    source_side.sql("UPDATE hlf_sync.dynamics_sync_failures SET resolved_at = now() WHERE resolved_at IS NULL")
    source_side.sql("DELETE FROM hlf_sync.mentor_ledger")
    source_side.sql("DELETE FROM hlf_sync.held_removal")
    yield from found_town(stack, source_side, tmp_path_factory.mktemp("town"))


class Scene:
    """Two workers, forty mentors, a Prometheus."""

    def __init__(self, town: Town, watching: Watching) -> None:
        self.town, self.watching = town, watching
        self.mentors = town.mentors(40)
        town.settle()

    def toggle(self, count: int = 4) -> None:
        """Something is due."""
        some = self.mentors[:count]
        is_shown = next(iter(self.town.wanted(some).values()))
        self.town.set_status(some, "paused" if is_shown else "reinstated")

    def turns_on(self, fault: Callable[["Scene"], None], expected: set[str], also: set[str]) -> None:
        """Strike, see what fires and nothing else, heal outside, see it clear."""
        fault(self)
        seen: set[str] = set()

        def is_on() -> bool:
            seen.update(self.watching.firing())
            assert seen <= expected | also, seen - expected - also
            return expected <= seen

        end_s = time.monotonic() + _QUIET_S
        while not is_on():
            assert time.monotonic() < end_s, f"only {seen} of {expected}"
            time.sleep(0.2)

    def clears(self) -> None:
        """Nothing fires any more, for a moment at least."""
        end_s = time.monotonic() + _QUIET_S
        while still := self.watching.firing():
            assert time.monotonic() < end_s, f"{still} do not clear"
            time.sleep(0.2)


@contextmanager
def stopped(stack: Sandbox, part: str) -> Iterator[None]:
    """A part that hangs."""
    stack.kill(part, signal.SIGSTOP)
    try:
        yield
    finally:
        stack.kill(part, signal.SIGCONT)


@pytest.fixture(scope="module")
def scene(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Quiet: the workers are ready, Prometheus has seen them, nothing fires."""
    assert BINARY is not None
    connect = town.stack.env["HLF_SYNC_CONNECT_URL"]
    guards: dict[str, Any] = {"MASS_REMOVAL_RATIO": "0.1", "MASS_REMOVAL_MIN": "8", "DEAD_LETTER_LIMIT_RUN": "8"}
    workers = [town.worker(is_awaited=False, CONNECT_URL=connect, AUTH_RETRY_S="2", **guards) for _ in range(2)]
    until(lambda: all(worker.is_ready() for worker in workers), "both workers are ready", _QUIET_S)
    with prometheus(BINARY, [worker._url.removeprefix("http://") for worker in workers], tmp_path_factory.mktemp("prometheus")) as watching:
        found = Scene(town, watching)
        until(lambda: watching.value("sum(hlf_sync_ready)") == 2, "both workers are scraped")
        found.clears()
        yield found


def _outage(scene: Scene) -> None:
    def strike(scene: Scene) -> None:
        scene.town.dynamics.outage(mode="503")
        scene.toggle()

    scene.turns_on(strike, {"HlfSyncCircuitOpen"}, _BEHIND)
    scene.town.dynamics.end_outage()
    scene.toggle()


def _credentials(scene: Scene) -> None:
    def strike(scene: Scene) -> None:
        scene.town.dynamics.switches(app_user=False)
        scene.toggle()

    scene.turns_on(strike, {"HlfSyncAuthHalted"}, _BEHIND)
    scene.town.dynamics.switches(app_user=True)


def _throttling(scene: Scene) -> None:
    def strike(scene: Scene) -> None:
        scene.town.dynamics.fault("throttled", times=None)
        scene.toggle()

    scene.turns_on(strike, {"HlfSyncThrottled"}, _BEHIND)
    scene.town.dynamics.clear_faults()


def _frozen_worker(scene: Scene) -> None:
    frozen = next(worker for worker in scene.town.workers if not worker.status()["leader"])
    scene.turns_on(lambda _: frozen.signal(signal.SIGSTOP), {"HlfSyncWorkerDown"}, {"HlfSyncLeasesLost", *_BEHIND})
    frozen.signal(signal.SIGCONT)


def _registry(scene: Scene) -> None:
    """One that hangs holds up Debezium's converter; workers ask it only for schemas that they have not seen."""
    with stopped(scene.town.stack, "registry"):
        scene.turns_on(lambda _: None, {"HlfSyncSourceSilent"}, {"HlfSyncDependencyDown", *_BEHIND})
    scene.town.side.await_running()


def _broker(scene: Scene) -> None:
    with stopped(scene.town.stack, "kafka"):
        scene.turns_on(lambda _: None, {"HlfSyncDependencyDown"}, {"HlfSyncSourceSilent", "HlfSyncLettersUnwritable", *_BEHIND})
    scene.town.side.await_running()


def _connect(scene: Scene) -> None:
    with stopped(scene.town.stack, "connect"):
        scene.turns_on(lambda _: None, {"HlfSyncDependencyDown", "HlfSyncSourceSilent"}, _BEHIND)
    scene.town.side.await_running()


def _connector_paused(scene: Scene) -> None:
    scene.turns_on(lambda scene: _order(scene, "pause"), {"HlfSyncConnectorFailed", "HlfSyncSourceSilent"}, _BEHIND)
    _order(scene, "resume")
    scene.town.side.await_running()


def _order(scene: Scene, what: str) -> None:
    scene.town.side.connect.put(f"/{CONNECTOR}/{what}").raise_for_status()


def _flood(scene: Scene) -> None:
    """Each worker counts its own run of letters."""
    expected = {"HlfSyncDeadLetterLimitHalted", "HlfSyncDeadLettersOpen"}
    scene.turns_on(lambda scene: scene.town.set_status(scene.mentors, "bogus"), expected, {"HlfSyncDeadLetterFlood", *_BEHIND})
    scene.town.set_status(scene.mentors, "active")
    _lift(scene, "dead_letter_limit")


def _mass_removal(scene: Scene) -> None:
    scene.turns_on(lambda scene: scene.town.set_status(scene.mentors, "paused"), {"HlfSyncMassRemovalHalted"}, _BEHIND)
    arguments = ["confirm-removals", "--reason", "the test says so", "--yes", "--env-file", str(scene.town.stack.layout.env_file)]
    assert CliRunner().invoke(app, arguments).exit_code == 0


def _lift(scene: Scene, reason: str) -> None:
    scene.town.side.sql("DELETE FROM hlf_sync.halt WHERE reason = %s", reason)


STORIES = (_outage, _credentials, _throttling, _frozen_worker, _registry, _broker, _connect, _connector_paused, _flood, _mass_removal)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__.strip("_"))
def test_a_fault_turns_on_its_alerts_and_they_clear(scene: Scene, story: Callable[[Scene], None]) -> None:
    """On one fleet; each begins where the one before has cleared."""
    scene.clears()
    story(scene)
    scene.clears()


def test_prometheus_evaluates_every_query_of_the_dashboard(scene: Scene) -> None:
    """Over the series of real workers."""
    assert [query for _, query, _ in panel_queries() if not scene.watching.is_accepted(query)] == []
