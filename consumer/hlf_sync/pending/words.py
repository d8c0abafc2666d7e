"""What each cause means to an operator, and what a person does about it; what the workers report of
themselves; how the listing stands, and how long. A coordinator's sentences: web/words.
"""

from hlf_sync.core.fleet_report import clock, sentence
from hlf_sync.core.fleet_verdict import Reason
from hlf_sync.core.open_update import Cause, Conditions, OpenUpdate

WORDS: dict[Cause, tuple[str, str]] = {
    Cause.PAUSED: ("paused by an operator", "hlf-sync unpause"),
    Cause.HELD: ("a removal that waits for a word", "hlf-sync confirm-removals"),
    Cause.UNMAPPED: (
        "given up: no Dynamics contact is mapped",
        "insert its row of hlf_sync.contact_mapping: that alone delivers it",
    ),
    Cause.REFUSED: ("given up: the facts are outside the contract", "hlf-sync why MENTOR"),
    Cause.REJECTED: (
        "given up: Dynamics refuses it",
        "mend it there, then hlf-sync replay plan --repaired",
    ),
    Cause.EXHAUSTED: ("given up after several attempts", "hlf-sync replay plan"),
    Cause.UNDER_WAY: ("a call is on its way", "nothing: it ends, or its lease does"),
    Cause.AUTH: ("halted: credentials are refused", "renew them, it goes on by itself"),
    Cause.DEAD_LETTER_LIMIT: (
        "halted: too many dead letters",
        "find the common cause, then hlf-sync resume dead-letter-limit",
    ),
    Cause.HALTED: ("the fleet is halted", "hlf-sync status says what to do"),
    Cause.NO_WORKER: ("no worker is running", "start one: hlf-sync run"),
    Cause.SHADOW: ("HLF_SYNC_DELIVERY is shadow: nothing is called", "set it to live"),
    Cause.CIRCUIT_OPEN: (
        "Dynamics fails: the circuit is open",
        "nothing: it goes on by itself",
    ),
    Cause.THROTTLED: ("Dynamics asked for a pause", "nothing: it goes on by itself"),
    Cause.RETRYING: ("an attempt failed, the next one comes", "nothing: it goes on by itself"),
    Cause.IN_DOUBT: ("a call's effect is not known", "nothing: asserted once more"),
    Cause.UNREAD: ("changes do not reach a worker", "hlf-sync status says why"),
    Cause.LATE: (
        "due for more than a minute, and not called for yet",
        "hlf-sync status; hlf-sync why MENTOR",
    ),
    Cause.WAITING: ("due, and not called for yet", "nothing: seconds"),
}


def words(cause: Cause, around: Conditions) -> tuple[str, str]:
    """What it means and what to do; with what the workers report where that is the cause."""
    means, advice = WORDS[cause]
    if cause is Cause.NO_WORKER and around.has_worker and around.unheard_since_s is not None:
        since = clock(around.unheard_since_s, around.now_s)
        return (
            f"no worker has reported since {since}",
            "start one; hlf-sync status says whether one is frozen or cut off",
        )
    if cause is Cause.UNREAD and around.unread is not None:
        meaning = around.unread.meaning
        since = clock(around.unread.since_s, around.now_s)
        return f"{means}, since {since}: {meaning.text}", meaning.advice or advice
    return means, advice


def troubles(around: Conditions) -> list[str]:
    """What holds up the fleet, a line each, whoever waits. That somebody is shown or hidden wrongly the list
    itself tells, with whom.
    """
    if around.is_unheard:
        means, advice = words(Cause.NO_WORKER, around)
        return [f"{means}; {advice}"]
    return [
        sentence(one, around.now_s)
        for one in around.troubles
        if one.reason != Reason.WRONGLY_LISTED
    ]


def listing(update: OpenUpdate) -> str:
    """What it shows, as far as is known, and what it should: `shown → hidden`."""
    shown, should_be = (one.word if one else "?" for one in (update.shown, update.should_be))
    return f"{shown} → {should_be}"


def lasting(seconds: float) -> str:
    """Seconds as people say them in a column: 12 s, 3 min, 2 h 10 min, 5 d."""
    whole = max(0, int(seconds))
    if whole < 120:  # noqa: PLR2004 - two minutes
        return f"{whole} s"
    hours, minutes = divmod(whole // 60, 60)
    if hours >= 48:  # noqa: PLR2004 - two days
        return f"{hours // 24} d"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
