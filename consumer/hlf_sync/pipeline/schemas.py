"""Fetches the schemas that records wait for. A registry that cannot be reached is waited for; one
that denies an id is asked until patience ends.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from hlf_sync.pipeline.errands import Errands
from hlf_sync.pipeline.patience import Dependencies

_log = structlog.get_logger()

_FIRST_S = 0.2
_LONGEST_S = 5.0
# Questions to the registry at once. Thousands of unknown ids (poison) would otherwise wait for each
# other's connections until all of them give up.
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Fetched:
    """The schema is known now."""


@dataclass(frozen=True, slots=True)
class SchemaDenied:
    """The registry answers, and knows no such schema."""


@dataclass(frozen=True, slots=True)
class SchemaUnreachable:
    """The registry does not answer as one; `reason` for the log."""

    reason: str


class SchemaPort(Protocol):
    """Puts schemas where the decoder finds them."""

    async def fetch(self, schema_id: int) -> Fetched | SchemaDenied | SchemaUnreachable:
        """Fetch one schema from the registry into the decoder's cache."""
        ...


class Schemas:
    """One task per missing schema, a few questions at once."""

    def __init__(self, port: SchemaPort, dependencies: Dependencies, *, patience_s: float) -> None:
        self._port = port
        self._dependencies = dependencies
        self._patience_s = patience_s
        self._errands = Errands()
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._wanted: set[int] = set()

    def need(
        self, schema_id: int, found: Callable[[int], None], denied: Callable[[int], None]
    ) -> None:
        """Records wait for this schema: they are told once, when it is known, or is denied for good."""
        if schema_id not in self._wanted:
            self._wanted.add(schema_id)
            self._errands.start(self._get(schema_id, found, denied))

    async def _get(
        self, schema_id: int, found: Callable[[int], None], denied: Callable[[int], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        wait_s, denied_since_s = _FIRST_S, None
        while True:
            match await self._asked(schema_id):
                case Fetched():
                    self._dependencies.answered("schema registry", loop.time())
                    found(schema_id)
                    break
                case SchemaUnreachable(reason):
                    self._dependencies.failed("schema registry", reason, loop.time())
                    denied_since_s = None
                case SchemaDenied():
                    self._dependencies.answered("schema registry", loop.time())
                    denied_since_s = denied_since_s or loop.time()
                    if loop.time() - denied_since_s >= self._patience_s:
                        _log.error("schema_unknown", schema_id=schema_id)
                        denied(schema_id)
                        break
            await asyncio.sleep(min(wait_s, self._patience_s))
            wait_s = min(_LONGEST_S, wait_s * 2)
        self._wanted.discard(schema_id)

    async def _asked(self, schema_id: int) -> Fetched | SchemaDenied | SchemaUnreachable:
        async with self._room:
            return await self._port.fetch(schema_id)
