"""What the leader sees of the nightly work: whether a night is overdue, and how each step of the
newest one ended. Reads, and changes nothing. A service of the worker; shown by `scrape` and
`/status`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import time
from typing import Any

from hlf_sync.core.nightly import Outcome, overdue_s
from hlf_sync.errors import DependencyError
from hlf_sync.postgres import nightly as nights
from hlf_sync.postgres.connections import DatabaseError, Pool, reaching
from hlf_sync.telemetry import metric_table as table
from hlf_sync.telemetry.metrics import Metrics

_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class NightSight:
    """The newest night. `steps` are nightly_run.counts."""

    run_date: str | None = None
    overdue_s: float = 0.0
    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class NightWatch:
    """Looks while it leads; `sight` is None before the first look, and where nights are off."""

    def __init__(
        self, pool: Pool | None, zone: str, at: time | None, leads: Callable[[], bool]
    ) -> None:
        self._pool, self._zone, self._at, self._leads = pool, zone, at, leads
        self.sight: NightSight | None = None

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self.sight = await self._look(self._at) if self._at and self._leads() else None
            await asyncio.sleep(_EVERY_S if self._leads() else 1.0)

    async def _look(self, at: time) -> NightSight | None:
        if self._pool is None:
            return None
        try:
            with reaching("PostgreSQL"):
                async with self._pool.connection() as connection:
                    _, local = await nights.clock(connection, self._zone)
                    found = await nights.newest(connection)
        except (DependencyError, DatabaseError):
            return None
        if found is None:
            return NightSight()
        night, counts = found
        return NightSight(night.run_date.isoformat(), overdue_s(local, at, night), counts)

    def content(self) -> dict[str, Any] | None:
        """For /status; None at the others."""
        if self.sight is None:
            return None
        steps = {name: step["outcome"] for name, step in self.sight.steps.items()}
        overdue = round(self.sight.overdue_s)
        return {"run_date": self.sight.run_date, "overdue_s": overdue, "steps": steps}

    def show(self, metrics: Metrics) -> None:
        """Set the gauges; absent where there is no sight."""
        sight = self.sight
        if sight is None:
            for metric in (table.NIGHT_OVERDUE, table.NIGHT_STEP, table.NIGHT_STEP_SECONDS):
                metrics.show_all(metric, {})
            metrics.show_all(table.REMINDERS, {})
            metrics.show_all(table.DUPLICATES, {})
            return
        metrics.show_all(table.NIGHT_OVERDUE, {(): sight.overdue_s})
        metrics.show_all(
            table.NIGHT_STEP,
            {
                (name, outcome.value): float(step["outcome"] == outcome.value)
                for name, step in sight.steps.items()
                for outcome in Outcome
            },
        )
        metrics.show_all(
            table.NIGHT_STEP_SECONDS,
            {
                (name,): float(step["seconds"])
                for name, step in sight.steps.items()
                if "seconds" in step
            },
        )
        written = sight.steps.get("reminders", {}).get("written")
        metrics.show_all(table.REMINDERS, {} if written is None else {(): float(written)})
        books = sight.steps.get("reconcile", {})
        kinds = {"calls": "unexplained", "reminders": "repeated_reminders"}
        metrics.show_all(
            table.DUPLICATES,
            {(kind,): float(books[key]) for kind, key in kinds.items() if key in books},
        )
