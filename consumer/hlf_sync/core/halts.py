"""The halt reasons: what each stops, whether a worker is ready meanwhile, how it ends, what a person
does, and which alert tells of it. One table for the pipeline, the status page, `doctor` and the
commands.

Values only. A new `HaltReason` without a row here does not pass the checks (a test compares with
alerts and runbook).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from hlf_sync.core.model import HaltReason, Operation


class Ends(StrEnum):
    """What ends a halt."""

    BY_ITSELF = "by itself"
    RESUME = "hlf-sync resume"
    CONFIRM_REMOVALS = "hlf-sync confirm-removals"


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """One halt. `stops` are the operations that are not called; `is_ready` is what `/readyz` says."""

    stops: frozenset[Operation]
    is_ready: bool
    ends: Ends
    advice: str
    alert: str


_ALL = frozenset(Operation)

HALTS: Final[Mapping[HaltReason, Halt]] = MappingProxyType(
    {
        HaltReason.AUTH: Halt(
            stops=_ALL,
            is_ready=False,
            ends=Ends.BY_ITSELF,
            advice="repair Dynamics' credentials or privileges; it lifts itself",
            alert="HlfSyncAuthHalted",
        ),
        HaltReason.DEAD_LETTER_LIMIT: Halt(
            stops=_ALL,
            is_ready=False,
            ends=Ends.RESUME,
            advice="find out why so much is refused, then `hlf-sync resume dead-letter-limit`",
            alert="HlfSyncDeadLetterLimitHalted",
        ),
        HaltReason.MASS_REMOVAL: Halt(
            stops=frozenset({Operation.REMOVE}),
            is_ready=True,
            ends=Ends.CONFIRM_REMOVALS,
            advice="if they are really to go: `hlf-sync confirm-removals --reason TEXT`",
            alert="HlfSyncMassRemovalHalted",
        ),
    }
)

STOP_ALL: Final = frozenset(reason for reason, halt in HALTS.items() if halt.stops == _ALL)
"""What stops every call."""

NOT_READY: Final = frozenset(reason for reason, halt in HALTS.items() if not halt.is_ready)
"""What makes a worker not ready."""


def stops(reason: HaltReason | str, operation: Operation) -> bool:
    """Whether the halt keeps this operation from being called. A reason that this version does not
    know stops everything.
    """
    known = {str(name): halt for name, halt in HALTS.items()}.get(str(reason))
    return known is None or operation in known.stops
