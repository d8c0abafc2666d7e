"""What the pipeline needs from the rooms, as protocols. The rooms implement them, the wiring
connects them, tests put fakes in.

Each port has one behaviour suite in tests/contracts that runs over the fake and over the real part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hlf_sync.core.breaker import Circuit, State
from hlf_sync.core.dead_letter import DeadLetter
from hlf_sync.core.evaluation import Evaluation
from hlf_sync.core.evaluation import Reading as Reading  # noqa: PLC0414 - a port's word too
from hlf_sync.core.model import (
    ContactId,
    HaltReason,
    MentorId,
    Operation,
    Trigger,
)
from hlf_sync.core.model import Known as Known  # noqa: PLC0414 - a port's word too
from hlf_sync.core.outcome import CallResult as CallResult  # noqa: PLC0414 - a port's word too
from hlf_sync.core.outcome import Claimed
from hlf_sync.core.visibility import Fate


class FactsPort(Protocol):
    """Reads mentors. Raises `DependencyError` while PostgreSQL cannot be reached."""

    async def read(self, mentor_ids: Sequence[MentorId]) -> Reading:
        """Read facts, ledger row and mapping of each mentor in one statement."""
        ...

    async def fate(self, transaction_id: int) -> Fate:
        """What became of the transaction with this 64-bit id."""
        ...


class LedgerPort(Protocol):
    """The ledger. Each call is one durable statement; raises `DependencyError` while PostgreSQL
    cannot be reached.
    """

    async def claim(self, evaluations: Sequence[Evaluation]) -> Mapping[MentorId, Claimed]:
        """Write intents and take leases; a mentor that changed hands meanwhile, or whose removal is
        held back, is missing in the answer. Safe to repeat.
        """
        ...

    async def record(self, evaluations: Sequence[Evaluation]) -> set[MentorId]:
        """Record what came of claims; the mentors whose lease was lost are missing in the answer,
        and due for another look. Safe to repeat.
        """
        ...

    async def settle(self, evaluations: Sequence[Evaluation]) -> set[MentorId]:
        """Record evaluations without a call; those decided on an outdated row are missing in the
        answer.
        """
        ...

    async def refuse(self, letter: DeadLetter, evaluation: Evaluation) -> bool:
        """Record a dead letter that needed no claim; False when the row that it was decided on is
        outdated. Safe to repeat.
        """
        ...

    async def note_failure(self, letter: DeadLetter) -> None:
        """Note a dead letter about a record that cannot be read and whose key names a mentor, and
        ask for a look at the mentor; safe to repeat.
        """
        ...

    async def hold_removals(self, mentor_ids: Sequence[MentorId]) -> None:
        """Note removals that wait for an operator's word."""
        ...

    async def ask(self, mentor_ids: Sequence[MentorId], triggered_by: Trigger, reason: str) -> None:
        """Insert sync requests for these mentors."""
        ...

    async def ask_all(
        self, triggered_by: Trigger, reason: str, *, only_if_known: bool = False
    ) -> int:
        """Insert sync requests for all in the view and the ledger; the number of requests.
        `only_if_known`: not while the ledger is empty.
        """
        ...


@dataclass(frozen=True, slots=True)
class Fleet:
    """What all workers share: the circuit and the halts, with PostgreSQL's clock when they were
    read. Of the halt `auth`: since when, and when the next probing request may be made (None where
    a token lifts it); `proved_at_s` is when Dynamics accepted such a request last, `accepted_at_s`
    when a token lifted it last. `first_opened_s`: when the episode of the circuit began that has not
    ended. `has_open_letter`: some mentor was given up.
    """

    circuit: Circuit
    halts: frozenset[HaltReason]
    now_s: float
    auth_since_s: float | None = None
    auth_probe_after_s: float | None = None
    proved_at_s: float | None = None
    accepted_at_s: float | None = None
    first_opened_s: float | None = None
    has_open_letter: bool = False

    @property
    def open_since_s(self) -> float | None:
        """Since when the circuit is not closed: its first opening, however many probes have failed
        since. None while it is closed.
        """
        if self.circuit.state is State.CLOSED:
            return None
        return self.first_opened_s or self.circuit.opened_at_s


class FleetPort(Protocol):
    """The shared state, changed by compare-and-set. `owner` names one probe call; `started_s` is
    PostgreSQL's clock.
    """

    async def read(self) -> Fleet:
        """Read circuit and halts."""
        ...

    async def take_probe(self, owner: str, mentor_id: MentorId) -> Fleet:
        """Try to become the one probe of a half-open circuit, with a call for this mentor; the
        answer's `probe_owner` says who is.
        """
        ...

    async def succeeded(self, owner: str | None, started_s: float) -> Fleet:
        """A call succeeded."""
        ...

    async def failed(
        self,
        owner: str | None,
        started_s: float,
        error_code: str,
        retry_after_s: float | None,
        mentor_id: MentorId,
    ) -> Fleet:
        """A call for this mentor failed in a way that counts for the breaker."""
        ...

    async def abandoned(self, owner: str) -> Fleet:
        """The probe came to no judgement."""
        ...

    async def throttled(self, retry_after_s: float, owner: str | None) -> Fleet:
        """Dynamics asked for a pause of everybody."""
        ...

    async def halt(self, reason: HaltReason, detail: str, *, needs_probe: bool = False) -> Fleet:
        """Stop calls for everybody. `needs_probe`: Dynamics itself refused us, so that only a
        request which it accepts lifts the halt.
        """
        ...

    async def take_proof(self, wait_s: float) -> bool:
        """Whether this caller may make the one probing request; the next one `wait_s` later."""
        ...

    async def accepted(self) -> Fleet:
        """Some worker's credentials are accepted: the halt is lifted, unless Dynamics itself
        refuses.
        """
        ...

    async def proved(self) -> Fleet:
        """Dynamics accepted the probing request: the halt is lifted."""
        ...

    async def lift(self, reason: HaltReason) -> Fleet:
        """The reason is gone."""
        ...


class LettersPort(Protocol):
    """The dead-letter topic."""

    async def write(self, letter: DeadLetter) -> None:
        """Return when the broker has acknowledged the letter; waits, and says so, while it cannot
        be written.
        """
        ...


class DynamicsPort(Protocol):
    """The sink: Dynamics. Another one implements this. Never raises for what the network does."""

    async def call(self, contact_id: ContactId, operation: Operation) -> CallResult:
        """Ask for the operation once (with at most one renewal of the token)."""
        ...
