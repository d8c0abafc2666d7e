"""What a step of the nightly work is given, and what it gives back. The steps are in `steps`."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hlf_sync.config.settings import Settings
from hlf_sync.core.decide import Rules
from hlf_sync.postgres.connections import Dsn
from hlf_sync.postgres.nightly import Connection

Counts = Mapping[str, Any]
Save = Callable[[Counts], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Skip:
    """The settings give the step nothing to do."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NightTools:
    """What all steps share. `connection` holds the night's lock: what is written on it is written
    while the night is ours.
    """

    settings: Settings
    secret_file: Path | None
    dsn: Dsn
    connection: Connection

    @property
    def rules(self) -> Rules:
        """The rules that the workers decide by."""
        return Rules(organization=self.settings.organization)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an earlier attempt came, and the way to say how far this one is. What is saved inside
    a transaction of the workplace's connection is saved with it.
    """

    before: Counts
    save: Save


Run = Callable[[NightTools, Progress], Awaitable[Counts | Skip]]


@dataclass(frozen=True, slots=True)
class Step:
    """One row of the table. `run` may be called again after a failure or a crash: it must be safe
    to repeat, or go on from its progress.
    """

    name: str
    run: Run
