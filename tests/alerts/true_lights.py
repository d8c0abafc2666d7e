"""Whether `hlf_sync_listing_wrong_mentors` tells the truth all through a fault: at each sample it
equals, within the documented delay, what comparing Dynamics with the facts gives.

A thread of its own looks each second at the application's tables, at Dynamics and at the workers'
pages. `untrue` is pure and judges the samples (tests/rooms/test_true_lights.py). Used by scene.py.
A storm's longer delays are tests/chaos/lights.py's.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import httpx
import psycopg
from hlf_sync.top.exposition import parse
from hlf_sync_sandbox.dynamics.control import ControlError

from tests.fixtures.worker_process import Town

METRIC = "hlf_sync_listing_wrong_mentors"
# docs/metrics.md: at most 10 s old; and what a look takes on a machine of two cores that also runs
# Kafka, Connect and two Prometheus.
DELAY_S = 10.0 + 3.0
# From a leader that stands still to the first figures of the next one: docs/runbook.md, frozen
# leader, and its first look.
DARK_S = 30.0 + DELAY_S
_EVERY_S = 1.0
_ANSWER_S = 1.0
# What lies between two samples further apart is not known.
_GAP_S = 6.0

# Asked of the application's tables and not of our code; null for facts outside the contract, and for
# whom docs/rules.md asks no call though nobody knows what the listing shows (reinstated, without a
# certificate, never delivered). In doubt is who has an intent, or of whom nothing was ever applied:
# the metric may count them.
_MENTORS = """
SELECT m.id::text, CASE
         WHEN m.status IN ('paused', 'expired_cert') THEN false
         WHEN m.status = 'reinstated' AND l.applied IS NULL AND NOT EXISTS (
           SELECT FROM app.certification c WHERE c.mentor_id = m.id AND c.status <> 'revoked' AND c.expires_at > now()) THEN NULL
         WHEN m.status IN ('active', 'reinstated') THEN EXISTS (
           SELECT FROM app.certification c WHERE c.mentor_id = m.id AND c.status <> 'revoked' AND c.expires_at > now()) END,
       l.applied IS NULL OR l.intended IS NOT NULL
  FROM app.mentor m LEFT JOIN hlf_sync.mentor_ledger l ON l.mentor_id = m.id
 WHERE m.organization_code = 'HLF'
"""

Who = tuple[str, str]
"""A mentor, and what the listing should show of it: visible or hidden."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. `perhaps`: those and who may be wrong; `counted`: the metric by `wanted`, of each
    worker that shows it.
    """

    at_s: float
    wrong: frozenset[Who]
    perhaps: frozenset[Who]
    counted: Sequence[Mapping[str, float]]


def untrue(samples: Sequence[Sample], delay_s: float = DELAY_S) -> list[str]:
    """Every sample at which the metric counts fewer than have stood wrong for the whole delay, or
    more than may have been wrong within it; and the dark, while somebody stood wrong.
    """
    found, window = list[str](), deque[Sample]()
    began_s = lit_s = float("nan")
    for sample in samples:
        if not window or sample.at_s - window[-1].at_s > _GAP_S:
            window.clear()
            began_s = lit_s = sample.at_s
        window.append(sample)
        while sample.at_s - window[0].at_s > delay_s:
            window.popleft()
        if sample.counted:
            lit_s = sample.at_s
        elif sample.wrong and sample.at_s - lit_s > DARK_S:
            found.append(f"{sample.at_s:.0f}: no worker counts, {len(sample.wrong)} stand wrong")
        if sample.at_s - began_s > delay_s:
            found += [line for counted in sample.counted for line in _beyond(window, counted)]
    return found


def _beyond(window: Iterable[Sample], counted: Mapping[str, float]) -> Iterator[str]:
    samples = list(window)
    at_least = frozenset.intersection(*(one.wrong for one in samples))
    at_most = frozenset[Who]().union(*(one.perhaps for one in samples))
    for wanted in ("hidden", "visible"):
        least, most = (sum(of == wanted for _, of in some) for some in (at_least, at_most))
        count = counted.get(wanted, 0.0)
        if not least <= count <= most:
            yield (
                f"{samples[-1].at_s:.0f}: {least} to {most} should be {wanted}, and the metric"
                f" counts {count:.0f}"
            )


class TrueLights:
    """Looks from `start` to `end`."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self.samples: list[Sample] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="true lights", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> list[str]:
        """Stop, and say what was untrue."""
        self._over.set()
        self._thread.join(30)
        return untrue(self.samples)

    def _look(self) -> None:
        while not self._over.wait(_EVERY_S):
            try:
                self.samples.append(self._sample())
            except (psycopg.Error, httpx.HTTPError, ControlError, OSError):
                continue  # PostgreSQL or the emulator is away: nobody can tell who stands wrong

    def _sample(self) -> Sample:
        with self._town.side.admin() as connection:
            rows = connection.execute(_MENTORS.encode()).fetchall()
        shown = self._town.dynamics.contacts()
        wanted = {
            mentor_id: "visible" if is_wanted else "hidden"
            for mentor_id, is_wanted, _ in rows
            if is_wanted is not None
        }
        wrong = {
            (mentor_id, word)
            for mentor_id, word in wanted.items()
            if (word == "visible") is not bool(shown.get(mentor_id))
        }
        doubted = {(one, wanted[one]) for one, _, in_doubt in rows if in_doubt and one in wanted}
        counted = list(self._counted())
        return Sample(time.monotonic(), frozenset(wrong), frozenset(wrong | doubted), counted)

    def _counted(self) -> Iterator[Mapping[str, float]]:
        for worker in list(self._town.workers):
            if worker.process.poll() is not None:
                continue
            try:
                answer = httpx.get(worker.address + "/metrics", trust_env=False, timeout=_ANSWER_S)
                page = parse(answer.text)
            except (httpx.HTTPError, ValueError, AssertionError):
                continue  # frozen, or not listening yet
            if page.has(METRIC):
                yield page.by(METRIC, "wanted")
