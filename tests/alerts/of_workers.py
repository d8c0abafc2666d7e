"""Stories of the workers themselves: frozen, busy with one mentor, full, with a wrong clock, with a
log that nobody takes; by their rows.
"""

import signal
from collections.abc import Iterator

from tests.alerts.scene import RIG, Scene, Story
from tests.fixtures.worker_process import WorkerProcess, until

_CHANGES = 3_000
_BURSTS = 4


def frozen_worker(scene: Scene) -> Iterator[None]:
    """SIGSTOP of one that does not lead."""
    yield from _freezes(scene.follower)


def frozen_leader(scene: Scene) -> Iterator[None]:
    """SIGSTOP of the one that leads."""
    yield from _freezes(scene.leader)


def _freezes(worker: WorkerProcess) -> Iterator[None]:
    worker.signal(signal.SIGSTOP)
    yield
    worker.signal(signal.SIGCONT)


def hot_mentor(scene: Scene) -> Iterator[None]:
    """Thousands of changes of one mentor at once: the queue is full for a moment and drains, the
    looks are few. On a busy machine a first burst may trickle in; then there is another.
    """
    paused, looks = scene.sum("hlf_sync_pauses_total"), scene.sum("hlf_sync_evaluations_total")
    bursts = 0
    while scene.sum("hlf_sync_pauses_total") == paused:
        bursts += 1
        assert bursts <= _BURSTS, "the queue was never full"
        _burst(scene)
        scene.town.settle(60)
    assert scene.sum("hlf_sync_evaluations_total") - looks < bursts * _CHANGES / 20
    yield


def _burst(scene: Scene) -> None:
    with scene.town.side.admin() as connection, connection.transaction(), connection.pipeline():
        for _ in range(_CHANGES):
            connection.execute(
                "UPDATE app.mentor SET updated_at = now() WHERE id = %s", (scene.mentors[0],)
            )


def full_queue(scene: Scene) -> Iterator[None]:
    """More comes in than is worked off, since Dynamics is down: four removals wait, and their
    mentors go on changing.
    """
    scene.town.dynamics.outage(mode="503")
    scene.hide()
    until(lambda: scene.leader.status()["circuit"]["state"] == "open", "the circuit is open")
    for _ in range(2 * int(RIG["RIG_PAUSE_AT"])):
        scene.hide()
    yield
    scene.town.dynamics.end_outage()
    scene.show()


def clock_skew(scene: Scene) -> Iterator[None]:
    """A third worker whose clock is five minutes ahead joins, and is looked at; a removal in
    between says that nobody minds.
    """
    ahead = scene.join({"RIG_CLOCK_S": "300"})
    until(ahead.is_ready, "it is ready", 60)
    scene.look_at(*scene.town.workers[:2], ahead)
    scene.hide()
    yield
    scene.look_at(*scene.town.workers[:2])
    ahead.signal(signal.SIGTERM)
    assert ahead.wait() == 0
    scene.show()


def blocked_log(scene: Scene) -> Iterator[None]:
    """The collector stands still while there is much to say: a line for each new mentor without a
    certificate.
    """
    worker = scene.town.workers[0]
    scene.collector.stand_still()

    def is_dropped() -> bool:
        scene.town.mentors(40, "reinstated", is_certified=False)
        scene.town.settle()
        return worker.metric("hlf_sync_log_lines_dropped_total") > 0

    until(is_dropped, "lines are dropped", 120)
    yield
    said = scene.collector.file.stat().st_size
    scene.collector.go_on()
    until(lambda: scene.collector.file.stat().st_size > said, "the worker's lines are taken again")


STORIES: dict[str, Story] = {
    "frozen worker": frozen_worker,
    "frozen leader": frozen_leader,
    "hot mentor": hot_mentor,
    "clock skew": clock_skew,
    "blocked log pipe": blocked_log,
    "full queue": full_queue,
}
