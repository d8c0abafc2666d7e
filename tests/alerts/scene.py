"""Where the stories play: two workers, sixty mentors with canaries in their personal columns, a
Prometheus with quick and one with real rules.

`play` is the whole of a test: strike, see exactly what the runbook names, heal, see it clear, see
that the CRM is right again, and that all the while the workers counted who stood wrong. A story is a
generator as in tests/chaos: it strikes, yields, and heals when it is resumed.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hlf_sync.clock import epoch_ms

from tests.alerts.canaries import CANARY
from tests.alerts.collector import Collector
from tests.alerts.runbook import rows
from tests.alerts.true_lights import TrueLights
from tests.fixtures.command import command
from tests.fixtures.prometheus import Watching
from tests.fixtures.worker_process import QUICK, Town, WorkerProcess, until

MENTORS = 60
# The two guards are on, as in production, and small enough for the town: one worker's letters alone
# are a flood, which are 21. A mass removal is one within five seconds, so that stories do not add
# up.
SETTINGS = {
    "MASS_REMOVAL_RATIO": "0.1",
    "MASS_REMOVAL_MIN": "8",
    "MASS_REMOVAL_WINDOW_S": "5",
    "DEAD_LETTER_LIMIT_RUN": "25",
    "AUTH_RETRY_S": "2",
}
# As fixtures/rigged_worker reads it: a queue and a log that are soon full.
RIG = {"RIG_PAUSE_AT": "150", "RIG_LOG_LINES": "100"}
_DEADLINE_S = 150.0
# How long it is looked at that nothing else comes, once all that should has.
_STAYS_S = 4.0

# Debezium's heartbeats come every ten seconds; and half as much again.
_BEAT_S = 15

Story = Callable[["Scene"], Iterator[None]]


@dataclass(frozen=True)
class Figure:
    """What was measured of one fault: seconds from the strike to each alert, and from the healing
    until none fired.
    """

    fired_s: dict[str, float]
    cleared_s: float


@dataclass
class Scene:
    """`quick` decides; `plain` has the rules as they are, for the dashboard's picture."""

    town: Town
    collector: Collector
    quick: Watching
    plain: Watching
    mentors: list[str] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)

    def settle_in(self) -> None:
        """The mentors, and their personal data."""
        self.mentors = self.town.mentors(MENTORS)
        sql = self.town.side.sql
        sql(
            "UPDATE app.mentor SET full_name = %s, email = %s, phone = %s",
            *(CANARY.format(column) for column in ("name", "email", "phone")),
        )
        sql("UPDATE app.certification SET notes = %s", CANARY.format("notes"))

    def join(
        self, rig: dict[str, str] | None = None, *, is_collected: bool = False
    ) -> WorkerProcess:
        """One more worker, not yet looked at by Prometheus; with its log in the collector's pipe,
        or in a file.
        """
        town = self.town
        log = (
            self.collector.pipe if is_collected else town.folder / f"worker-{len(town.workers)}.log"
        )
        settings = {**QUICK, **SETTINGS, "HTTP_PORT": "0", "KAFKA_GROUP_ID": town.group}
        worker = WorkerProcess(town.stack.layout.env_file, log, settings, {**RIG, **(rig or {})})
        if is_collected:
            worker._log = self.collector.file
        town.workers.append(worker)
        return worker

    def look_at(self, *workers: WorkerProcess) -> None:
        """Both Prometheus scrape these."""
        for watching in (self.quick, self.plain):
            watching.look_at([worker.address for worker in workers])

    @property
    def leader(self) -> WorkerProcess:
        """Who leads."""
        return next(worker for worker in self.town.workers[:2] if worker.status()["leader"])

    @property
    def follower(self) -> WorkerProcess:
        """Who does not."""
        return next(worker for worker in self.town.workers[:2] if not worker.status()["leader"])

    def sum(self, name: str) -> float:
        """A metric over both workers."""
        return sum(worker.metric(name) for worker in self.town.workers[:2])

    def is_halted(self, reason: str) -> bool:
        """Whether one of them says so."""
        return any(reason in worker.status()["halted"] for worker in self.town.workers[:2])

    def hide(self, count: int = 4) -> None:
        """A few removals are due."""
        self.town.set_status(self.mentors[:count], "paused")

    def show(self) -> None:
        """Everybody is to be shown again."""
        self.town.set_status(self.mentors, "active")

    def order(self, *arguments: str) -> None:
        """As an operator would."""
        answer = command(self.town.stack.env, *arguments)
        assert answer.code == 0, answer.text

    def play(self, fault: str, story: Story) -> None:
        """The whole story of one fault."""
        row = rows()[fault]
        self._rests()
        lights = TrueLights(self.town)
        lights.start()
        act, since_s = story(self), epoch_ms() / 1000
        try:
            next(act)
            self._see(row.turns_on)
        finally:
            healed_s = epoch_ms() / 1000
            next(act, None)
        self._rests()
        untrue = lights.end()
        fired = self.quick.fired(since_s, epoch_ms() / 1000)
        besides = set(fired) - row.turns_on - row.perhaps
        assert not besides, f"{fault} turned on what the runbook does not name: {besides}"
        assert not untrue, f"{fault}: the workers count other than Dynamics shows: {untrue}"
        cleared_s = epoch_ms() / 1000 - healed_s
        self.figures[fault] = Figure(
            {
                alert: at_s - since_s
                for alert, at_s in sorted(fired.items(), key=lambda one: one[1])
            },
            cleared_s,
        )

    def _see(self, expected: frozenset[str]) -> None:
        """All of them fire, and what the rest does for a moment."""
        seen: set[str] = set()
        end_s = time.monotonic() + _DEADLINE_S
        while not expected <= seen:
            seen |= self.quick.firing()
            assert time.monotonic() < end_s, f"only {seen} of {set(expected)}"
            time.sleep(0.2)
        stays_s = time.monotonic() + _STAYS_S
        until(lambda: time.monotonic() > stays_s, "a moment passes")

    def _rests(self) -> None:
        """Both workers are ready, the CRM is as the facts ask, heartbeats come through, nothing
        fires or is about to.
        """
        town = self.town
        until(
            lambda: all(worker.is_ready() for worker in town.workers[:2]),
            "both workers are ready",
            _DEADLINE_S,
        )
        until(
            lambda: town.shown(self.mentors) == town.wanted(self.mentors),
            "the CRM equals the facts",
            _DEADLINE_S,
        )
        end_s = time.monotonic() + _DEADLINE_S
        until(
            lambda: self.quick.value('max(hlf_sync_heartbeat_age_seconds{end="kafka"})') < _BEAT_S,
            "heartbeats come through",
            _DEADLINE_S,
        )
        while still := self.quick.stirring():
            assert time.monotonic() < end_s, f"{still} do not clear"
            time.sleep(0.2)
