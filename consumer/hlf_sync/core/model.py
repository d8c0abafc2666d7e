"""The values that travel through the rooms: a change, a mentor's facts, its ledger row, the
decision, the outcome.

Everybody imports this; it imports nothing of ours. Times: `_ms` are epoch milliseconds, `_s`
monotonic or epoch seconds as said.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, NewType

MentorId = NewType("MentorId", str)
"""A mentor's UUID as lower-case text with hyphens."""

ContactId = NewType("ContactId", str)
"""The Dynamics contact's UUID as lower-case text with hyphens."""


class Visibility(StrEnum):
    """What the public listing shows of a mentor."""

    VISIBLE = "visible"
    HIDDEN = "hidden"

    @property
    def word(self) -> str:
        """What people are told it is."""
        return "shown" if self is Visibility.VISIBLE else "hidden"


class Operation(StrEnum):
    """What is asked of Dynamics."""

    REMOVE = "remove"
    RESTORE = "restore"

    @property
    def wanted(self) -> Visibility:
        """The visibility this operation ends in."""
        return Visibility.HIDDEN if self is Operation.REMOVE else Visibility.VISIBLE


class Trigger(StrEnum):
    """Why a mentor was looked at (requirement R09); kept with every call."""

    STATUS_CHANGE = "status_change"
    CERTIFICATION_CHANGE = "certification_change"
    MANUAL = "manual_coordinator_action"
    EXPIRY = "expiry"
    RECONCILIATION = "reconciliation"
    REPLAY = "dead_letter_replay"


class Position(NamedTuple):
    """One record's place in the changes topic. `epoch` numbers the assignment, so that a finish
    from an old one changes nothing.
    """

    partition: int
    offset: int
    epoch: int = 0


class Record(NamedTuple):
    """One record of the changes topic as Kafka gave it. `timestamp_ms` is epoch milliseconds;
    `trace_parent` is read only while tracing is on.
    """

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    trace_parent: str | None = None


@dataclass(slots=True, frozen=True)
class Change:
    """A record that says: look at this mentor. It never says what to do.

    `transaction_id` is Debezium's 32-bit `source.txId`, None where the row was read by a snapshot
    and so is visible already. `committed_ms` is `source.ts_ms`, clamped to the record's own
    timestamp when it lies in the future.
    """

    mentor_id: MentorId
    trigger: Trigger
    position: Position
    committed_ms: int
    transaction_id: int | None = None
    certification_id: str | None = None
    dead_letter_id: str | None = None


@dataclass(slots=True, frozen=True)
class MarkedChange(Change):
    """A change with what its trace must know, while tracing is on: when its record was in Kafka and
    came in, and whose trace it belongs to.
    """

    kafka_ms: int = 0
    taken_ns: int = 0
    trace_parent: str | None = None


class IgnoredReason(StrEnum):
    """Why a record needs no look at anybody."""

    TOMBSTONE = "tombstone"
    HEARTBEAT = "heartbeat"
    SIGNAL = "signal"
    SCHEMA_CHANGE = "schema_change"
    TRANSACTION = "transaction"
    LOGICAL_MESSAGE = "logical_message"
    REQUEST_PRUNED = "request_pruned"


@dataclass(slots=True, frozen=True)
class Ignored:
    """A record that is finished on arrival, counted only."""

    reason: IgnoredReason


@dataclass(slots=True, frozen=True)
class OutOfScope:
    """A row of another organisation, before and after: finished on arrival."""


@dataclass(slots=True, frozen=True)
class Truncated:
    """TRUNCATE of a captured table: no key, an alert and a sweep, never a removal by itself."""

    table: str


@dataclass(slots=True, frozen=True)
class Undecodable:
    """A record that can never become a change: a dead letter that points at it. `detail` names what
    is wrong without quoting bytes.
    """

    error_code: str
    detail: str
    mentor_id: MentorId | None = None
    schema_id: int | None = None


@dataclass(slots=True, frozen=True)
class UnknownSchema:
    """The record's schema is not at hand yet; decode again when `schema_id` has been fetched."""

    schema_id: int


Decoded = Change | Ignored | OutOfScope | Truncated | Undecodable | UnknownSchema


class Facts(NamedTuple):
    """One row of `hlf_sync.mentor_facts`: the mentor and its most recent certification that is not
    revoked.

    `certificate_expires_s` is epoch seconds, ±inf where PostgreSQL says infinity. `is_unreadable`:
    the view fails for this mentor, or shows what cannot be carried; then nothing else is known.
    """

    organization: str | None
    status: str | None
    certification_id: str | None = None
    certificate_expires_s: float | None = None
    certificate_status: str | None = None
    is_unreadable: bool = False


class LedgerState(StrEnum):
    """Where a mentor's delivery stands."""

    IN_SYNC = "in_sync"
    PENDING = "pending"
    IN_DOUBT = "in_doubt"
    DEAD_LETTERED = "dead_lettered"
    OUT_OF_SCOPE = "out_of_scope"


class LedgerRow(NamedTuple):
    """What we last delivered for a mentor, and what is still open. A mentor without a row equals
    `LedgerRow()`.

    `intended` is the write-ahead intent: while it is not None, a call may have taken effect without
    our knowing (in doubt). Times are epoch seconds by PostgreSQL's clock. `lease_until_s` is None
    when nobody holds a lease.
    """

    applied: Visibility | None = None
    intended: Visibility | None = None
    state: LedgerState | None = None
    generation: int = 0
    attempt_count: int = 0
    lease_owner: str | None = None
    lease_until_s: float | None = None
    doubt_until_s: float | None = None
    reevaluate_at_s: float | None = None
    last_error_code: str | None = None
    dead_letter_id: str | None = None
    trace_parent: str | None = None  # of the delivery that is open, where it is traced
    refusal: str | None = None  # what Dynamics has refused: `refusal_of` contact and operation
    doubtful_contacts: tuple[ContactId, ...] = ()  # whom calls of unknown outcome were about

    @property
    def is_in_doubt(self) -> bool:
        """Whether a call of unknown outcome is outstanding, so that `applied` proves nothing."""
        return self.intended is not None


def refusal_of(contact_id: ContactId | None, operation: Operation) -> str:
    """The word for 'this operation for this contact', as the ledger keeps it after a refusal."""
    return f"{contact_id} {operation.value}"


class Heir(NamedTuple):
    """The mentor that a former contact is mapped to now; `ledger` is about that contact."""

    facts: Facts | None
    ledger: LedgerRow


class Former(NamedTuple):
    """A contact that a mentor no longer has, and that may be shown because of us.

    `is_left_visible`: the ledger knows that it is; else a call about it is of unknown outcome.
    `is_hidden`: it was hidden since that doubt began, and only a late effect can show it again.
    """

    contact_id: ContactId
    heir: Heir | None = None  # whose it is now; None: it is mapped to no mentor
    is_left_visible: bool = True
    is_hidden: bool = False


class Known(NamedTuple):
    """What one statement's snapshot showed of one mentor."""

    facts: Facts | None
    ledger: LedgerRow
    has_ledger: bool
    contact_id: ContactId | None
    is_remapped: bool = False  # another contact is mapped than the one that was last called for
    formers: tuple[Former, ...] = ()  # such contacts as it no longer has
    is_paused: bool = False  # an operator has paused this mentor, or all deliveries
    is_held: bool = False  # the mass change guard holds, or has held, its removal


@dataclass(slots=True, frozen=True)
class NoCall:
    """Dynamics already shows what it should, or nothing is known that must be said. `is_warning`
    asks for one warning in the log.
    """

    reason: str
    is_warning: bool = False
    is_out_of_scope: bool = False


@dataclass(slots=True, frozen=True)
class Command:
    """Deliver this operation: to the mapped contact, or to a former one that is, or may be, shown."""

    operation: Operation
    reason: str
    former_contact_id: ContactId | None = None


@dataclass(slots=True, frozen=True)
class Refuse:
    """The facts lie outside the contract: never a call, a dead letter that asks for
    investigation.
    """

    error_code: str


Decision = NoCall | Command | Refuse


class ErrorCode(StrEnum):
    """The typed errors of a delivery (requirement R28)."""

    AUTH_FAILURE = "auth_failure"
    NOT_FOUND = "not_found"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    NETWORK_ERROR = "network_error"
    REJECTED = "rejected"


class HaltReason(StrEnum):
    """What can stop calls for everybody; the metric's words. A new one gets a row in core/halts."""

    AUTH = "auth"
    DEAD_LETTER_LIMIT = "dead_letter_limit"
    MASS_REMOVAL = "mass_removal"


class LetterKind(StrEnum):
    """Why something could not be delivered."""

    UNDECODABLE = "undecodable"
    REFUSED = "refused"
    UNMAPPED = "unmapped"
    REJECTED = "rejected"
    EXHAUSTED = "exhausted"
