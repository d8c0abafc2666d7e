"""What an open update waits for, in a sentence that a coordinator understands. Pure; the page
translates by the cause, other applications show the sentence.
"""

from hlf_sync.core.breaker import State
from hlf_sync.core.fleet_verdict import MEANINGS, Reason, Standing
from hlf_sync.core.open_update import Cause, Conditions

SENTENCES = {
    Cause.PAUSED: "The administrator has paused this update; nothing is lost meanwhile.",
    Cause.WAITING: "The update is on its way.",
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

_HALTS = {reason.value: reason for reason in Reason}


def verdict(around: Conditions) -> tuple[Standing, str, str]:
    """What the fleet's state comes to: standing, reason, sentence."""
    for halt in sorted(around.halts):
        reason = _HALTS.get(halt)
        if reason is None:
            return Standing.HALTED, halt, SENTENCES[Cause.HALTED]
        return Standing.HALTED, halt, f"Updates are stopped: {MEANINGS[reason].text}."
    if not around.has_worker:
        return Standing.STOPPED, Cause.NO_WORKER.value, SENTENCES[Cause.NO_WORKER]
    if around.circuit is State.OPEN:
        return Standing.STALLED, Cause.CIRCUIT_OPEN.value, _CIRCUIT_OPEN
    if (around.pause_until_s or 0.0) > around.now_s:
        return Standing.STALLED, Cause.THROTTLED.value, _THROTTLED
    return Standing.OK, Reason.CAUGHT_UP.value, "Updates are delivered as they come."


AWAY = (
    Standing.STALLED,
    Reason.POSTGRESQL_DOWN.value,
    "The database does not answer; it goes on by itself.",
)
