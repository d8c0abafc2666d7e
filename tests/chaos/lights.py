"""Whether the lights tell the truth all through the storm: who stands wrong for longer than the
documented delay must be counted by the workers' metric at that moment.

A thread of its own looks at the facts, at Dynamics and at /metrics together, every other second.
`unseen` is pure and judges the samples; test_lights.py shows it every kind of wrong. Started by
run.py, where the plan says so.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import httpx
from hlf_sync.top.exposition import parse

from tests.chaos.faults import World
from tests.chaos.lanes import PASSING

DELAY_S = 30.0
"""docs/metrics.md: how long a wrong listing may go uncounted."""

_EVERY_S = 2.0
# What lies between two samples further apart is not known.
_GAP_S = 8.0
_METRIC = "hlf_sync_listing_wrong_mentors"

# What each mentor's listing should be, asked of the application's tables and not of our code; null
# for facts outside the contract.
_WANTED = """
SELECT w.mentor_id::text, CASE
         WHEN m.id IS NULL OR m.organization_code <> 'HLF' OR m.status IN ('paused', 'expired_cert') THEN false
         WHEN m.status IN ('active', 'reinstated') THEN EXISTS (
           SELECT FROM app.certification c WHERE c.mentor_id = m.id AND c.status <> 'revoked' AND c.expires_at > now()) END
  FROM unnest(%s::uuid[]) AS w (mentor_id) LEFT JOIN app.mentor m ON m.id = w.mentor_id
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. `wrong`: what the listing of who stands wrong should be, visible or hidden;
    `counted`: the metric by `wanted`, None where no worker shows it.
    """

    at_s: float
    wrong: Mapping[str, str]
    counted: Mapping[str, float] | None


def unseen(samples: Sequence[Sample], delay_s: float = DELAY_S) -> list[str]:
    """Who stood wrong for longer than the delay and was not counted: one line for each time that
    this began.
    """
    found, since, is_told = list[str](), dict[tuple[str, str], float](), False
    dark_since_s, last_s = float("inf"), float("-inf")
    for sample in samples:
        if sample.at_s - last_s > _GAP_S:
            since, dark_since_s = {}, float("inf")
        last_s = sample.at_s
        dark_since_s = float("inf") if sample.counted is not None else min(dark_since_s, last_s)
        now = set(sample.wrong.items())
        since = {one: since.get(one, last_s) for one in now}
        long = {one for one, since_s in since.items() if last_s - since_s > delay_s}
        lines = list(_uncounted(sample, long, last_s - dark_since_s > delay_s))
        found += [] if is_told else lines
        is_told = bool(lines)
    return found


def _uncounted(sample: Sample, long: set[tuple[str, str]], is_dark: bool) -> Iterator[str]:
    if sample.counted is None:
        if is_dark and long:
            yield f"{sample.at_s:.0f}: no worker counts, and {len(long)} stand wrong: {_some(long)}"
        return
    for wanted in ("hidden", "visible"):
        meant = {one for one in long if one[1] == wanted}
        count = sample.counted.get(wanted, 0.0)
        if len(meant) > count:
            yield (
                f"{sample.at_s:.0f}: {len(meant)} should be {wanted}, the metric counts"
                f" {count:.0f}: {_some(meant)}"
            )


def _some(mentors: set[tuple[str, str]]) -> str:
    return ", ".join(sorted(mentor_id for mentor_id, _ in mentors)[:3])


class Lights:
    """Looks from `start` to `end`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.samples: list[Sample] = []
        self.failure: str | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="lights", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join(30)

    @property
    def findings(self) -> list[str]:
        """Who stood wrong and was not counted; or that nobody has looked."""
        return [*unseen(self.samples), *([self.failure] if self.failure is not None else [])]

    @property
    def most_wrong(self) -> int:
        """How many stood wrong at once, at most."""
        return max((len(sample.wrong) for sample in self.samples), default=0)

    def _look(self) -> None:
        self._look_on(lambda: self._over.wait(_EVERY_S))

    def _look_on(self, is_over: Callable[[], bool]) -> None:
        self.failure = "the lights were watched no more"  # unless this ends well
        while not is_over():
            # PostgreSQL or the emulator is away: nobody can tell who stands wrong
            with contextlib.suppress(*PASSING):
                self.samples.append(self._sample())
        self.failure = None

    def _sample(self) -> Sample:
        world, people = self._world, self._world.people
        ids = [one for one in (*people.mentors, *people.steady) if one not in people.strangers]
        shown = world.dynamics.contacts()
        wrong = {
            mentor_id: "visible" if is_wanted else "hidden"
            for mentor_id, is_wanted in world.rows(_WANTED, ids)
            if is_wanted is not None and bool(shown.get(mentor_id)) is not is_wanted
        }
        return Sample(time.monotonic(), wrong, self._counted())

    def _counted(self) -> Mapping[str, float] | None:
        for worker in list(self._world.fleet.alive):
            if worker in self._world.fleet.frozen or not worker.has_started:
                continue
            try:
                page = parse(worker.get("/metrics").text)
            except (httpx.HTTPError, ValueError):
                continue
            if page.has(_METRIC):
                return page.by(_METRIC, "wanted")
        return None
