"""The workers of the fleet as this one read them last: `worker/registration` reads them, `/status` tells
them. They stay while PostgreSQL is away, with their age: then nothing else says where the others listen.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hlf_sync.postgres.workers import KnownWorker


@dataclass(slots=True)
class KnownWorkers:
    """`seen_at_s` is monotonic; None before the first reading."""

    found: Sequence[KnownWorker] = ()
    seen_at_s: float | None = None

    def take(self, found: Sequence[KnownWorker]) -> None:
        """They were read now."""
        self.found, self.seen_at_s = found, asyncio.get_running_loop().time()

    def content(self) -> dict[str, Any]:
        """As /status has them; `silent_s` is of when they were read."""
        age_s = (
            None if self.seen_at_s is None else asyncio.get_running_loop().time() - self.seen_at_s
        )
        return {
            "workers": [
                {
                    "name": one.name,
                    "address": one.address,
                    "version": one.version,
                    "partitions": list(one.partitions),
                    "since": one.since_s,
                    "silent_s": round(one.silent_s, 1),
                }
                for one in self.found
            ],
            "workers_age_s": None if age_s is None else round(age_s, 1),
        }
