"""Alerts on a real Prometheus over real workers on the sandbox: each fault turns on exactly what
docs/runbook.md says of it, and clears afterwards.

Opt-in, since it takes a quarter of an hour and needs the binary `prometheus`:
HLF_SYNC_TEST_ALERTS=1. Windows and limits of the rules are made short; the expressions are those of
deploy/monitoring. The stories are in tests/alerts. With HLF_SYNC_TEST_ALERTS_REPORT=FOLDER it
leaves figures there and, after an outage, a halt and a cut of seven minutes each by the rules as they
are, what the dashboard shows in them (tests/alerts/picture.py draws it).
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hlf_sync_sandbox.stack import Sandbox

from tests.alerts import of_dynamics, of_source
from tests.alerts.canaries import leaks, leaks_in
from tests.alerts.collector import collecting
from tests.alerts.figures import table
from tests.alerts.panels import photograph
from tests.alerts.scene import Scene, Story
from tests.alerts.stories import STORIES
from tests.fixtures.prometheus import prometheus
from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import Town, found_town, until
from tests.rooms.test_monitoring import panel_queries

BINARY = shutil.which("prometheus")
REPORT = os.environ.get("HLF_SYNC_TEST_ALERTS_REPORT")
pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(
        BINARY is None or "HLF_SYNC_TEST_ALERTS" not in os.environ,
        reason="opt-in: HLF_SYNC_TEST_ALERTS=1, and prometheus",
    ),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def town(
    stack: Sandbox, source_side: SourceSide, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    """A town of its own in a database and a fleet that hold nothing older: a sweep looks at
    everybody.
    """
    source_side.sql(
        "UPDATE hlf_sync.dynamics_sync_failures SET resolved_at = now() WHERE resolved_at IS NULL"
    )
    for table_name in (
        "app.mentor",
        "hlf_sync.contact_mapping",
        "hlf_sync.mentor_ledger",
        "hlf_sync.held_removal",
    ):
        source_side.sql(f"DELETE FROM {table_name}")
    yield from found_town(stack, source_side, tmp_path_factory.mktemp("town"))


@pytest.fixture(scope="module")
def scene(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Quiet: two workers are ready, both Prometheus have seen them, nothing fires."""
    assert BINARY is not None
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        collecting(town.folder, "collected") as collector,
        prometheus(BINARY, folder / "quick", is_quick=True, every_s=1) as quick,
        prometheus(BINARY, folder / "plain", is_quick=False, every_s=5) as plain,
    ):
        found = Scene(town, collector, quick, plain)
        found.settle_in()
        workers = [found.join(is_collected=True), found.join()]
        until(lambda: all(worker.is_ready() for worker in workers), "both workers are ready", 60)
        found.look_at(*workers)
        # A rule that counts over a window sees nothing of what came before the window's first
        # scrape.
        until(
            lambda: quick.value('min(count_over_time(up{job="hlf-sync"}[30s]))') > 25,
            "both workers have been scraped for a while",
            60,
        )
        yield found
        if REPORT:
            (Path(REPORT) / "figures.md").write_text(table(found.figures), encoding="utf-8")


@pytest.mark.requirement("R60")
@pytest.mark.requirement("R62")
@pytest.mark.parametrize("fault", STORIES)
def test_a_fault_turns_on_exactly_what_the_runbook_says_and_it_clears(
    scene: Scene, fault: str
) -> None:
    """On one fleet; each begins where the one before has cleared, and ends with a CRM that equals
    the facts.
    """
    scene.play(fault, STORIES[fault])


@pytest.mark.afterwards
@pytest.mark.requirement("R45")
def test_no_canary_and_no_secret_stands_anywhere_after_all_of_it(scene: Scene) -> None:
    """Logs of workers and parts, pages, every record of every topic, every table of ours, all that
    Prometheus keeps; however it is written.
    """
    assert leaks(scene.town) == []
    assert leaks_in(scene.town, scene.quick.everything()) == []
    assert leaks_in(scene.town, scene.plain.everything()) == []


@pytest.mark.afterwards
def test_prometheus_evaluates_every_query_of_the_dashboard(scene: Scene) -> None:
    """Over the series of real workers."""
    assert [query for _, query, _ in panel_queries() if not scene.plain.is_accepted(query)] == []


_PICTURES: dict[str, tuple[Story, set[str]]] = {
    "dashboard": (of_dynamics.unavailable, {"HlfSyncCircuitOpen", "HlfSyncStale"}),
    "halt": (of_dynamics.token_refused, {"HlfSyncAuthHalted", "HlfSyncStale"}),
    "cut": (of_source.broker_down, {"HlfSyncDependencyDown"}),
}


@pytest.mark.afterwards
@pytest.mark.skipif(REPORT is None, reason="opt-in: HLF_SYNC_TEST_ALERTS_REPORT=FOLDER")
@pytest.mark.parametrize("name", _PICTURES)
def test_the_dashboard_is_photographed_while_mentors_stand_wrong(scene: Scene, name: str) -> None:
    """Dynamics is down, halted or cut off for so long that the rules, as they are, say that somebody
    is wrongly shown.
    """
    assert REPORT is not None
    story, fires = _PICTURES[name]
    act = story(scene)
    next(act)
    scene.hide()
    until(
        lambda: fires | {"HlfSyncWronglyShown"} <= scene.plain.firing(), "the real rules fire", 600
    )
    photograph(scene.plain, Path(REPORT) / f"{name}.json")
    next(act, None)
    scene.show()
    until(
        lambda: scene.town.shown(scene.mentors) == scene.town.wanted(scene.mentors),
        "the CRM equals the facts",
        90,
    )
