"""What all the figures come to: ok, lagging, stalled, stopped or halted, because of what, and which
stage holds things up (Burrow's idea).

A lag of 10,000 that shrinks is fine, one of 3 that has not moved for a minute is not: so the
offsets are judged over a window, not by a threshold. Pure; called by the status page, shown by
/status, `hlf-sync status`, `hlf-sync top` and one metric.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from hlf_sync.core.breaker import State
from hlf_sync.core.model import HaltReason

# The dependencies, as the pipeline calls them.
KAFKA, POSTGRESQL, REGISTRY, LETTER_TOPIC = (
    "Kafka",
    "PostgreSQL",
    "schema registry",
    "dead-letter topic",
)


class Standing(StrEnum):
    """From good to bad; the worst reason rules."""

    OK = "ok"
    LAGGING = "lagging"  # behind, and coming along
    STALLED = "stalled"  # something is away, or nothing moves; goes on by itself when that is over
    STOPPED = "stopped"  # nothing will move until somebody acts
    HALTED = "halted"  # it stopped itself on purpose


class Stage(StrEnum):
    """Where on a change's way."""

    NONE = "none"
    SOURCE = "source"  # PostgreSQL's log → Debezium → Kafka
    CONSUME = "consume"  # Kafka → worker
    DECODE = "decode"  # bytes → change
    DECIDE = "decide"  # facts and ledger → decision
    DELIVER = "deliver"  # Dynamics
    RECORD = "record"  # outcome → ledger, dead letter → topic


class Reason(StrEnum):
    """Why; each belongs to one standing and one stage."""

    CAUGHT_UP = "caught_up"
    STANDBY = "standby"
    AUTH = "auth"
    DEAD_LETTER_LIMIT = "dead_letter_limit"
    MASS_REMOVAL = "mass_removal"
    PAUSED = "paused"
    THREAD_STUCK = "thread_stuck"
    CONSUMER_FAILED = "consumer_failed"
    UNASSIGNED = "unassigned"
    CONNECTOR_FAILED = "connector_failed"
    CONNECTOR_PAUSED = "connector_paused"
    SLOT_LOST = "slot_lost"
    SOURCE_BROKEN = "source_broken"
    DATABASE_CHANGED = "database_changed"
    KAFKA_DOWN = "kafka_down"
    POSTGRESQL_DOWN = "postgresql_down"
    REGISTRY_DOWN = "registry_down"
    LETTERS_UNWRITABLE = "letters_unwritable"
    CIRCUIT_OPEN = "circuit_open"
    THROTTLED = "throttled"
    NOTHING_COMMITTED = "nothing_committed"
    SOURCE_SILENT = "source_silent"
    SOURCE_RETURNING = "source_returning"
    CATCHING_UP = "catching_up"
    WRONGLY_LISTED = "wrongly_listed"
    DEAD_LETTERS_OPEN = "dead_letters_open"
    BEHIND_UNREAD = "behind_unread"
    BEHIND_SCHEMA = "behind_schema"
    BEHIND_DECIDING = "behind_deciding"
    BEHIND_DELIVERING = "behind_delivering"
    BEHIND_RETRYING = "behind_retrying"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a reason stands for. `text` finishes the sentence 'it is so because …'; `advice` is the
    first thing to do, empty when nothing.
    """

    standing: Standing
    stage: Stage
    text: str
    advice: str = ""


MEANINGS: dict[Reason, Meaning] = {
    Reason.CAUGHT_UP: Meaning(
        Standing.OK,
        Stage.NONE,
        "every change that reached this worker is reflected, or on its way in time",
    ),
    Reason.STANDBY: Meaning(
        Standing.OK, Stage.NONE, "this worker owns no partition: another member of the group does"
    ),
    Reason.AUTH: Meaning(
        Standing.HALTED,
        Stage.DELIVER,
        "Dynamics or Entra refuses our credentials",
        "renew the credentials; it goes on by itself",
    ),
    Reason.DEAD_LETTER_LIMIT: Meaning(
        Standing.HALTED,
        Stage.RECORD,
        "too many changes end as dead letters",
        "find the common cause, then `hlf-sync resume dead-letter-limit`",
    ),
    Reason.MASS_REMOVAL: Meaning(
        Standing.HALTED,
        Stage.DELIVER,
        "unusually many mentors would leave the listing",
        "look whether that is meant: `hlf-sync confirm-removals --reason TEXT` shows whom",
    ),
    Reason.PAUSED: Meaning(
        Standing.HALTED,
        Stage.DELIVER,
        "an operator has paused all deliveries",
        "`hlf-sync history --kind pause` says who and why; then `hlf-sync unpause`",
    ),
    Reason.THREAD_STUCK: Meaning(
        Standing.STOPPED,
        Stage.CONSUME,
        "the thread that reads Kafka has not turned for a minute",
        "restart this worker; keep its log",
    ),
    Reason.CONSUMER_FAILED: Meaning(
        Standing.STALLED,
        Stage.CONSUME,
        "Kafka's consumer has failed for good, and is being made anew: a right is missing, or the"
        " brokers refuse this member",
        "its log and /status say which; docs/runbook.md, consumer failed",
    ),
    Reason.UNASSIGNED: Meaning(
        Standing.STALLED,
        Stage.CONSUME,
        "this worker owns no partition, and no other member of the group does: changes are not read",
        "`hlf-sync doctor` asks the brokers why; docs/runbook.md, consumer failed",
    ),
    Reason.CONNECTOR_FAILED: Meaning(
        Standing.STOPPED,
        Stage.SOURCE,
        "the Debezium connector or its task has failed or is missing",
        "`hlf-sync connector apply`",
    ),
    Reason.CONNECTOR_PAUSED: Meaning(
        Standing.STOPPED,
        Stage.SOURCE,
        "somebody has paused or stopped the Debezium connector",
        "`hlf-sync connector resume`, once what it was stopped for is over",
    ),
    Reason.SLOT_LOST: Meaning(
        Standing.STOPPED,
        Stage.SOURCE,
        "the replication slot is missing or lost: changes are not captured",
        "see docs/runbook.md, slot lost",
    ),
    Reason.SOURCE_BROKEN: Meaning(
        Standing.STOPPED,
        Stage.SOURCE,
        "the publication, a table, an identity or the facts view is not as it must be: changes may"
        " not be captured",
        "`hlf-sync doctor` says what; an administrator runs connectors/sql/02_source.sql",
    ),
    Reason.DATABASE_CHANGED: Meaning(
        Standing.STOPPED,
        Stage.SOURCE,
        "the database is another one or went back, and the connector still stands where the old one"
        " was",
        "`hlf-sync connector reset`; see docs/runbook.md, the database came back",
    ),
    Reason.KAFKA_DOWN: Meaning(
        Standing.STALLED,
        Stage.CONSUME,
        "no Kafka broker answers",
        "bring the brokers back; it goes on by itself",
    ),
    Reason.POSTGRESQL_DOWN: Meaning(
        Standing.STALLED,
        Stage.DECIDE,
        "PostgreSQL does not answer, or refuses a statement",
        "bring it back; it goes on by itself",
    ),
    Reason.REGISTRY_DOWN: Meaning(
        Standing.STALLED,
        Stage.DECODE,
        "the schema registry does not answer",
        "bring it back; it goes on by itself",
    ),
    Reason.LETTERS_UNWRITABLE: Meaning(
        Standing.STALLED,
        Stage.RECORD,
        "the dead-letter topic cannot be written",
        "see that the topic exists and may be written",
    ),
    Reason.CIRCUIT_OPEN: Meaning(
        Standing.STALLED,
        Stage.DELIVER,
        "Dynamics fails: the circuit is not closed, one call at a time tries",
        "see whether Dynamics is down",
    ),
    Reason.THROTTLED: Meaning(
        Standing.STALLED,
        Stage.DELIVER,
        "Dynamics asked for a pause (429), or there is no token to ask with",
    ),
    Reason.NOTHING_COMMITTED: Meaning(
        Standing.STALLED,
        Stage.RECORD,
        "records wait and no position has moved for a minute",
        "find the mentor that waits: `hlf-sync why MENTOR`, the worker's log",
    ),
    Reason.SOURCE_SILENT: Meaning(
        Standing.STALLED,
        Stage.SOURCE,
        "no heartbeat has come through Debezium for a minute: changes may be waiting in PostgreSQL",
        "see Kafka Connect and its log",
    ),
    Reason.SOURCE_RETURNING: Meaning(
        Standing.LAGGING,
        Stage.SOURCE,
        "Kafka or PostgreSQL has just come back, and no heartbeat through Debezium yet: changes may"
        " be waiting in PostgreSQL",
    ),
    Reason.CATCHING_UP: Meaning(
        Standing.LAGGING,
        Stage.CONSUME,
        "it has not caught up since its start, or waits for its partitions",
    ),
    Reason.WRONGLY_LISTED: Meaning(
        Standing.LAGGING,
        Stage.DELIVER,
        "mentors have been shown or hidden wrongly for more than a minute",
        "`hlf-sync pending` says whom, and what each waits for",
    ),
    Reason.DEAD_LETTERS_OPEN: Meaning(
        Standing.LAGGING,
        Stage.DELIVER,
        "mentors could not be delivered and were given up: dead letters are open",
        "`hlf-sync pending --cause dead_lettered` says whom, `hlf-sync replay plan` what to do",
    ),
    Reason.BEHIND_UNREAD: Meaning(
        Standing.LAGGING, Stage.CONSUME, "changes wait in Kafka for longer than a minute"
    ),
    Reason.BEHIND_SCHEMA: Meaning(Standing.LAGGING, Stage.DECODE, "records wait for their schema"),
    Reason.BEHIND_DECIDING: Meaning(
        Standing.LAGGING, Stage.DECIDE, "mentors wait for their facts to be read"
    ),
    Reason.BEHIND_DELIVERING: Meaning(
        Standing.LAGGING,
        Stage.DELIVER,
        "mentors wait for their call: more is due than the pace allows",
    ),
    Reason.BEHIND_RETRYING: Meaning(
        Standing.LAGGING, Stage.DELIVER, "the oldest change waits for its mentor's next attempt"
    ),
}

# From here on a change is late: requirement R06 allows 60 s.
LATE_S = 60.0
# A rebalance takes seconds; a member that died keeps its partitions for a session.
_UNASSIGNED_S = 30.0
# What stood still with the outage may take so long to move again.
_CALM_S = 60.0
# Debezium's heartbeat comes every 10 s.
_SILENT_S = 60.0


@dataclass(frozen=True, slots=True)
class SourceSigns:
    """What the leader sees of the source; None where it cannot be seen (no Connect address, no
    heartbeat topic).
    """

    is_connector_down: bool | None = None
    is_connector_paused: bool | None = None
    is_slot_lost: bool | None = None
    is_broken: bool | None = None
    is_changed: bool | None = None
    heartbeat_age_s: float | None = None


@dataclass(frozen=True, slots=True)
class Signs:
    """What one worker measured of itself. `freshness_s` is the age of the oldest change without an
    outcome, `held_s` of the oldest one in memory.

    Mentors: `dirty` wait for a look, `in_progress` are being looked at, called or recorded,
    `calling` wait for their call, `retrying` for their next attempt. `is_paused`: all deliveries, by
    an operator; `wrong_s`: for how long the listing has been wrong somewhere; the leader sees both.
    `is_stuck`: see core/lag; `calm_s`: for how long nothing has been down or stood still on purpose.
    `reachable_s`: for how long both Kafka and PostgreSQL have answered this worker.
    `unread_s`: how long neither this worker nor another member of the group has owned partitions;
    `is_standby`: another member is known to own some. `has_open_letter`: somebody was given up.
    """

    is_turning: bool
    is_consumer_failed: bool = False
    halts: frozenset[HaltReason] = frozenset()
    down: frozenset[str] = frozenset()
    circuit: State = State.CLOSED
    pause_s: float = 0.0
    partitions: int = 0
    unread_s: float = 0.0
    is_standby: bool = False
    has_caught_up: bool = False
    is_stuck: bool = False
    calm_s: float = inf
    reachable_s: float = inf
    freshness_s: float = 0.0
    held_s: float = 0.0
    parked: int = 0
    dirty: int = 0
    in_progress: int = 0
    calling: int = 0
    retrying: int = 0
    source: SourceSigns = SourceSigns()
    is_paused: bool = False
    wrong_s: float = 0.0
    has_open_letter: bool = False

    @property
    def waits(self) -> bool:
        """Whether a mentor waits for Dynamics."""
        return self.calling > 0 or self.retrying > 0


def halt_words(reason: str) -> str:
    """A halt in words; one of a newer release by its name."""
    return MEANINGS[Reason(reason)].text if reason in set(Reason) else reason


def judge(signs: Signs) -> Reason:
    """The one reason that rules."""
    return reasons(signs)[0]


def reasons(signs: Signs) -> list[Reason]:
    """Every reason that holds, the worst first; never empty. What only PostgreSQL knows is of before
    while that is away: nobody can say whether it still holds.
    """
    unreadable = _IN_THE_DATABASE if POSTGRESQL in signs.down else frozenset()
    found = [
        reason for reason, holds in _HOLDS.items() if reason not in unreadable and holds(signs)
    ]
    if signs.freshness_s > LATE_S:
        behind = _behind(signs)
        if behind is not Reason.BEHIND_DELIVERING or not _NO_CALLS & set(found):
            found.append(behind)
    return found or [Reason.CAUGHT_UP if signs.partitions else Reason.STANDBY]


def is_held_up(signs: Signs) -> bool:
    """Whether something is away, fails, or stands still on purpose: then no position need move."""
    return any(holds(signs) for reason, holds in _HOLDS.items() if reason in _HOLD_UP)


def _behind(signs: Signs) -> Reason:
    """Which stage the oldest change waits in, by where most mentors wait; what is older than all in
    memory has not been read, or not decoded.
    """
    if signs.held_s < signs.freshness_s - 1:
        return Reason.BEHIND_SCHEMA if signs.parked else Reason.BEHIND_UNREAD
    waiting = {
        Reason.BEHIND_DELIVERING: signs.calling,
        Reason.BEHIND_RETRYING: signs.retrying,
        Reason.BEHIND_DECIDING: signs.dirty,
    }
    return max(waiting, key=lambda reason: waiting[reason])


# In the order of their standing, worst first; within one, what explains the others comes first.
_HOLDS: dict[Reason, Callable[[Signs], bool]] = {
    Reason.AUTH: lambda signs: HaltReason.AUTH in signs.halts,
    Reason.DEAD_LETTER_LIMIT: lambda signs: HaltReason.DEAD_LETTER_LIMIT in signs.halts,
    Reason.MASS_REMOVAL: lambda signs: HaltReason.MASS_REMOVAL in signs.halts,
    Reason.PAUSED: lambda signs: signs.is_paused,
    Reason.THREAD_STUCK: lambda signs: not signs.is_turning,
    Reason.SLOT_LOST: lambda signs: signs.source.is_slot_lost is True,
    Reason.DATABASE_CHANGED: lambda signs: signs.source.is_changed is True,
    Reason.CONNECTOR_FAILED: lambda signs: signs.source.is_connector_down is True,
    Reason.CONNECTOR_PAUSED: lambda signs: signs.source.is_connector_paused is True,
    Reason.SOURCE_BROKEN: lambda signs: signs.source.is_broken is True,
    Reason.POSTGRESQL_DOWN: lambda signs: POSTGRESQL in signs.down,
    Reason.KAFKA_DOWN: lambda signs: KAFKA in signs.down,
    Reason.CONSUMER_FAILED: lambda signs: signs.is_consumer_failed,
    Reason.UNASSIGNED: lambda signs: signs.unread_s > _UNASSIGNED_S,
    Reason.REGISTRY_DOWN: lambda signs: REGISTRY in signs.down,
    Reason.LETTERS_UNWRITABLE: lambda signs: LETTER_TOPIC in signs.down,
    # Half-open with nothing to deliver stays so until the next needed call: nothing is held up by
    # it.
    Reason.CIRCUIT_OPEN: lambda signs: (
        signs.circuit is State.OPEN or (signs.circuit is State.HALF_OPEN and signs.waits)
    ),
    Reason.THROTTLED: lambda signs: signs.pause_s > 0 and signs.waits,
    # An outage of Kafka or PostgreSQL silences the source, too: it has a minute from its end on.
    Reason.SOURCE_SILENT: lambda signs: (
        min(signs.source.heartbeat_age_s or 0.0, signs.reachable_s) > _SILENT_S
    ),
    Reason.NOTHING_COMMITTED: lambda signs: (
        signs.is_stuck and signs.calm_s >= _CALM_S and not is_held_up(signs)
    ),
    Reason.CATCHING_UP: lambda signs: (
        not signs.has_caught_up if signs.partitions else not signs.is_standby
    ),
    Reason.SOURCE_RETURNING: lambda signs: (
        (signs.source.heartbeat_age_s or 0.0) > _SILENT_S and 0 < signs.reachable_s <= _SILENT_S
    ),
    Reason.WRONGLY_LISTED: lambda signs: signs.wrong_s > LATE_S,
    Reason.DEAD_LETTERS_OPEN: lambda signs: signs.has_open_letter,
}
# Workers read these there, and remember them while it is away.
_IN_THE_DATABASE = frozenset(
    {
        Reason.AUTH,
        Reason.DEAD_LETTER_LIMIT,
        Reason.MASS_REMOVAL,
        Reason.PAUSED,
        Reason.CIRCUIT_OPEN,
        Reason.DEAD_LETTERS_OPEN,
    }
)
# While one of these holds, it is not the pace that calls wait for.
_NO_CALLS = frozenset(
    {
        Reason.AUTH,
        Reason.DEAD_LETTER_LIMIT,
        Reason.PAUSED,
        Reason.CIRCUIT_OPEN,
        Reason.THROTTLED,
    }
)
_HOLD_UP = frozenset(
    reason
    for reason in _HOLDS
    if MEANINGS[reason].standing is not Standing.LAGGING and reason is not Reason.NOTHING_COMMITTED
)
