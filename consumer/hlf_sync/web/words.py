"""What an open update waits for, and what holds up all, in a sentence that a coordinator understands.
Pure; the page translates by the cause or the reason, other applications show the sentence.
"""

from typing import NamedTuple

from hlf_sync.core.breaker import State
from hlf_sync.core.fleet_report import ReportedReason, clock
from hlf_sync.core.fleet_verdict import MEANINGS, Reason, Standing
from hlf_sync.core.halts import stops
from hlf_sync.core.model import HaltReason, Operation
from hlf_sync.core.open_update import Cause, Conditions

SENTENCES = {
    Cause.PAUSED: "The administrator has paused this update; nothing is lost meanwhile.",
    Cause.WAITING: "The update is on its way.",
    Cause.LATE: "The update takes longer than usual; it goes out by itself.",
    Cause.UNREAD: "Changes are not read at the moment; the update waits, and nothing is lost.",
    Cause.UNDER_WAY: "The update is being delivered now.",
    Cause.RETRYING: "The last try failed; it is tried again by itself.",
    Cause.IN_DOUBT: (
        "Dynamics did not say whether the update arrived; it is sent once more by itself."
    ),
    Cause.CIRCUIT_OPEN: "Dynamics is not answering; it is tried again by itself.",
    Cause.THROTTLED: "Dynamics asked for a pause; it goes on by itself.",
    Cause.NO_WORKER: "The synchronisation is not running: tell the administrator.",
    Cause.AUTH: (
        "Dynamics refuses our sign-in: the administrator must renew it; then it goes on by itself."
    ),
    Cause.DEAD_LETTER_LIMIT: (
        "Too many updates fail, so all of them are stopped: the administrator must look."
    ),
    Cause.HALTED: "The administrator has stopped all updates.",
    Cause.SHADOW: "Updates are not sent to Dynamics yet: the system runs on trial.",
    Cause.HELD: (
        "Unusually many mentors would leave the page at once: the administrator must confirm it."
    ),
    Cause.UNMAPPED: "This mentor has no contact in Dynamics yet: ask the administrator.",
    Cause.REFUSED: "This mentor's data are not understood: ask the administrator.",
    Cause.REJECTED: "Dynamics refuses this update: ask the administrator.",
    Cause.EXHAUSTED: (
        "Several tries failed, so it is not tried again by itself: 'Sync now', or ask the"
        " administrator."
    ),
}
AT_REST = "The page shows what it should."
# Of the whole service: an update that was given up does not go out by itself.
_GIVEN_UP = "; those that were given up need 'Sync now' or the administrator."
_CIRCUIT_OPEN = "Dynamics is not answering; updates that wait go out by themselves" + _GIVEN_UP
_THROTTLED = "Dynamics asked for a pause; updates that wait go out by themselves" + _GIVEN_UP
_HELD = (
    "Unusually many mentors would leave the page at once: those wait until the administrator"
    " confirms them"
)

_BY_ITSELF = "Updates wait and go out by themselves."
_BY_A_PERSON = "The administrator must act; updates wait, and nothing is lost."
# Of what keeps changes from being read: what it is, and how it ends.
_UNREAD = {
    Reason.THREAD_STUCK: ("the delivery service is stuck", _BY_A_PERSON),
    Reason.CONSUMER_FAILED: ("Kafka refuses the delivery service", _BY_A_PERSON),
    Reason.UNASSIGNED: ("Kafka gives the delivery service nothing to read", _BY_A_PERSON),
    Reason.CONNECTOR_FAILED: ("the connector has failed", _BY_A_PERSON),
    Reason.CONNECTOR_PAUSED: ("the administrator has stopped the connector", _BY_A_PERSON),
    Reason.SLOT_LOST: ("the connector has lost its place", _BY_A_PERSON),
    Reason.SOURCE_BROKEN: ("the database is not set up as it must be", _BY_A_PERSON),
    Reason.DATABASE_CHANGED: ("the database was replaced", _BY_A_PERSON),
    Reason.KAFKA_DOWN: ("Kafka is away", _BY_ITSELF),
    Reason.REGISTRY_DOWN: ("the schema registry is away", _BY_ITSELF),
    Reason.SOURCE_SILENT: ("the connector is silent", _BY_ITSELF),
}
_LATE = "Updates are delivered, but some take longer than usual"


class FleetVerdict(NamedTuple):
    """How it stands with all. `since_s`: epoch seconds, where it is known."""

    standing: Standing
    reason: str
    message: str
    since_s: float | None = None


def verdict(around: Conditions) -> FleetVerdict:
    """What the fleet's state comes to. First what stops all; the mass change guard stops removals
    only, and hides nothing.
    """
    if found := _stop_of_all(around) or _wait_of_all(around):
        if HaltReason.MASS_REMOVAL in around.halts:
            return found._replace(message=f"{found.message} {_HELD}.")
        return found
    if HaltReason.MASS_REMOVAL in around.halts:
        message = f"{_HELD}; all other updates go out."
        return FleetVerdict(Standing.HALTED, Reason.MASS_REMOVAL.value, message)
    for trouble in around.troubles:
        return _late(trouble, around.now_s)
    message = "Updates are delivered as they come."
    return FleetVerdict(Standing.OK, Reason.CAUGHT_UP.value, message)


def with_given_up(found: FleetVerdict, count: int) -> FleetVerdict:
    """Nothing stands in anybody's way, and so many updates were given up: these do not go out."""
    if not count or found.standing is not Standing.OK:
        return found
    message = "Updates are delivered as they come" + _GIVEN_UP
    return FleetVerdict(Standing.LAGGING, Reason.DEAD_LETTERS_OPEN.value, message)


def _stop_of_all(around: Conditions) -> FleetVerdict | None:
    """A halt of every call, or no worker at all."""
    for halt in sorted(around.halts):
        if not stops(halt, Operation.RESTORE):
            continue
        if halt not in set(Reason):
            return FleetVerdict(Standing.HALTED, halt, SENTENCES[Cause.HALTED])
        message = f"Updates are stopped: {MEANINGS[Reason(halt)].text}."
        return FleetVerdict(Standing.HALTED, halt, message)
    if around.is_unheard:
        since_s, message = around.unheard_since_s, SENTENCES[Cause.NO_WORKER]
        if since_s is not None:
            since = clock(since_s, around.now_s)
            message = f"No worker has reported since {since}. {message}"
        return FleetVerdict(Standing.STOPPED, Cause.NO_WORKER.value, message, since_s)
    return None


def _wait_of_all(around: Conditions) -> FleetVerdict | None:
    """What is away or does not move."""
    standing = [one for one in around.troubles if one.stands]
    for trouble in standing:
        if trouble.is_unread:
            return _unread(trouble, around.now_s)
    if around.circuit is State.OPEN:
        return FleetVerdict(Standing.STALLED, Cause.CIRCUIT_OPEN.value, _CIRCUIT_OPEN)
    if (around.pause_until_s or 0.0) > around.now_s:
        return FleetVerdict(Standing.STALLED, Cause.THROTTLED.value, _THROTTLED)
    for trouble in standing:
        since = clock(trouble.since_s, around.now_s)
        message = f"Updates have been held up since {since}: the administrator must look."
        return FleetVerdict(trouble.meaning.standing, trouble.reason, message, trouble.since_s)
    return None


def _unread(trouble: ReportedReason, now_s: float) -> FleetVerdict:
    what, end = _UNREAD[Reason(trouble.reason)]  # only known ones are at such a stage
    since = clock(trouble.since_s, now_s)
    message = f"Changes are not read at the moment ({what}, since {since}). {end}"
    return FleetVerdict(trouble.meaning.standing, trouble.reason, message, trouble.since_s)


def _late(trouble: ReportedReason, now_s: float) -> FleetVerdict:
    message = f"{_LATE} (since {clock(trouble.since_s, now_s)})."
    return FleetVerdict(trouble.meaning.standing, trouble.reason, message, trouble.since_s)


AWAY = FleetVerdict(
    Standing.STALLED,
    Reason.POSTGRESQL_DOWN.value,
    "The database does not answer; it goes on by itself.",
)
