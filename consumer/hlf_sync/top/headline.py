"""The first lines of the picture: is anyone wrongly listed now, why, what to do, and where the
runbook says more. Pure; called by `screen`.

What a reason means and what to do first is `core/fleet_verdict`'s; here it gets the alert that goes
with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hlf_sync.core.fleet_verdict import MEANINGS, Reason, Standing
from hlf_sync.core.quantities import duration
from hlf_sync.core.wrong_listing import in_words
from hlf_sync.top.look import SaidCircuit
from hlf_sync.top.picture import AWAY, Picture, WrongListings

Level = Literal["good", "watch", "act"]


@dataclass(frozen=True, slots=True)
class Headline:
    """`section` is a heading of docs/runbook.md; empty when there is nothing to do."""

    level: Level
    why: str
    do: str = ""
    section: str = ""


ALERTS: dict[Reason, str] = {
    Reason.AUTH: "HlfSyncAuthHalted",
    Reason.DEAD_LETTER_LIMIT: "HlfSyncDeadLetterLimitHalted",
    Reason.MASS_REMOVAL: "HlfSyncMassRemovalHalted",
    Reason.PAUSED: "HlfSyncPaused",
    Reason.THREAD_STUCK: "HlfSyncWorkerStuck",
    Reason.CONSUMER_FAILED: "HlfSyncConsumerFailed",
    Reason.UNASSIGNED: "HlfSyncConsumerFailed",
    Reason.CONNECTOR_FAILED: "HlfSyncConnectorFailed",
    Reason.CONNECTOR_PAUSED: "HlfSyncConnectorFailed",
    Reason.SLOT_LOST: "HlfSyncSlotLost",
    Reason.SOURCE_BROKEN: "HlfSyncSourceBroken",
    Reason.DATABASE_CHANGED: "HlfSyncConnectorMisled",
    Reason.KAFKA_DOWN: "HlfSyncDependencyDown",
    Reason.POSTGRESQL_DOWN: "HlfSyncDependencyDown",
    Reason.REGISTRY_DOWN: "HlfSyncDependencyDown",
    Reason.LETTERS_UNWRITABLE: "HlfSyncLettersUnwritable",
    Reason.CIRCUIT_OPEN: "HlfSyncCircuitOpen",
    Reason.THROTTLED: "HlfSyncThrottled",
    Reason.NOTHING_COMMITTED: "HlfSyncNothingMoves",
    Reason.SOURCE_SILENT: "HlfSyncSourceSilent",
    Reason.WRONGLY_LISTED: "HlfSyncWronglyShown",
    Reason.DEAD_LETTERS_OPEN: "HlfSyncDeadLettersOpen",
    Reason.BEHIND_UNREAD: "HlfSyncStale",
    Reason.BEHIND_SCHEMA: "HlfSyncStale",
    Reason.BEHIND_DECIDING: "HlfSyncStale",
    Reason.BEHIND_DELIVERING: "HlfSyncStale",
    Reason.BEHIND_RETRYING: "HlfSyncStale",
}
"""The alert that fires when a reason stays, and so the section of docs/runbook.md. What is missing here passes by itself."""

_LEVELS: dict[Standing, Level] = {
    Standing.OK: "good",
    Standing.LAGGING: "watch",
    Standing.STALLED: "watch",
}


def headlines(picture: Picture) -> list[Headline]:
    """What stands in the way, worst first; one good line when nothing does."""
    if picture.verdict == AWAY:
        do = "start one with `hlf-sync run`, or name it with --worker"
        why = "no worker answers: nothing is delivered"
        if picture.unreachable:
            why = "no worker that can be reached from here answers"
        return [Headline("act", why, do, "HlfSyncNoWorker"), *_unreachable(picture)]
    found = [_of(reason, picture.wrong) for reason in picture.reasons]
    found += [
        Headline(
            "act",
            f"{one.name} {one.trouble}",
            "the others take over its partitions",
            "HlfSyncWorkerDown",
        )
        for one in picture.away
    ]
    found += _unreachable(picture)
    return found or [Headline("good", "nothing stands in the way")]


def _unreachable(picture: Picture) -> list[Headline]:
    """Workers that are not in the picture, though they have registered."""
    if not picture.unreachable:
        return []
    why = f"{_some(picture.unreachable, 'worker')} cannot be reached from here: loopback addresses"
    do = "set HLF_SYNC_HTTP_HOST=0.0.0.0 there, or run `hlf-sync top` on that host"
    return [Headline("watch", why, do)]


def _of(reason: Reason, wrong: WrongListings | None) -> Headline:
    meaning = MEANINGS[reason]
    return Headline(
        _LEVELS.get(meaning.standing, "act"),
        meaning.text,
        meaning.advice or "nothing: it goes on by itself",
        _section(reason, wrong),
    )


def _section(reason: Reason, wrong: WrongListings | None) -> str:
    """The alert that comes of it: who is missing from the listing has another one than who is on it
    and should not be.
    """
    if reason is Reason.WRONGLY_LISTED and wrong is not None and not wrong.mentors.get("hidden"):
        return "HlfSyncWronglyHidden" if wrong.mentors.get("visible") else "HlfSyncDeadLettersOpen"
    return ALERTS.get(reason, "")


def wrongly_listed(picture: Picture) -> str:
    """One sentence: who may be listed wrongly at this moment, and since when."""
    if picture.verdict == AWAY:
        return "not known: no worker answers"
    mentors = sum(member.mentors for member in picture.members)
    lag = picture.group_lag if picture.group_lag is not None else sum(picture.lag.values())
    has_leader = any(member.is_leader for member in picture.members)
    if picture.wrong is None and (picture.does_tell_listing or not has_leader):
        return "; ".join([_not_known(picture), *_unread(picture, lag)])
    wrong = picture.wrong or WrongListings({}, 0.0)
    is_told = bool(wrong.mentors) and wrong.oldest_s >= _TOLD_S
    parts = [_by_ledger(wrong, picture)] if is_told else []
    if picture.freshness_s >= _TOLD_S and (not is_told or mentors > sum(wrong.mentors.values())):
        parts.append(
            f"{_some(mentors, 'mentor')} waiting, a change from {duration(picture.freshness_s)} ago"
            " the oldest"
        )
    elif lag >= _TOLD_RECORDS and not parts:
        parts.append(f"{_some(lag, 'record')} not finished yet")
    if picture.wrong is None and picture.letters.open:
        parts.append(f"{_some(picture.letters.open, 'mentor')} with an open dead letter")
    if picture.delivery == "shadow":
        parts.append("shadow: nothing is delivered")
    if not parts and (cut := _CUT_OFF & set(picture.reasons)):
        parts.append("none by the database; no change comes through")
        parts += _unread(picture, lag) if Reason.KAFKA_DOWN not in cut else []
    return "; ".join(parts) or NOBODY


# While these hold, no change comes from the application to Dynamics.
_CUT_OFF = frozenset(
    {
        Reason.CONNECTOR_FAILED,
        Reason.CONNECTOR_PAUSED,
        Reason.SLOT_LOST,
        Reason.SOURCE_BROKEN,
        Reason.SOURCE_SILENT,
        Reason.KAFKA_DOWN,
        Reason.CONSUMER_FAILED,
        Reason.UNASSIGNED,
        Reason.REGISTRY_DOWN,
        Reason.POSTGRESQL_DOWN,
    }
)


def _not_known(picture: Picture) -> str:
    """The leader could not compare facts and ledger, or no leader answers."""
    if not any(member.is_leader for member in picture.members):
        return "not known: no worker that answers leads"
    if picture.listing_age_s is None:
        return "not known yet: the leader has not compared everybody"
    return f"not known since {duration(picture.listing_age_s)} ago"


def _unread(picture: Picture, lag: int) -> list[str]:
    parts = [f"{_some(lag, 'change')} unread"] if lag else []
    if picture.letters.open:
        parts.append(f"{_some(picture.letters.open, 'mentor')} with an open dead letter")
    return parts


NOBODY = "nobody that we know of"
# Changes on their ordinary way are no news.
_TOLD_S = 1.0
_TOLD_RECORDS = 100


def _by_ledger(wrong: WrongListings, picture: Picture) -> str:
    """As of the leader's last look, and how long it has been since then."""
    oldest_s = wrong.oldest_s + (picture.listing_age_s or 0.0)
    return in_words(wrong.mentors, oldest_s, picture.held_removals)


def circuit_words(circuit: SaidCircuit, waiting: int, allowed: float | None) -> str:
    """State, since when, after what, when it is tried again, and how long the backlog takes then."""
    words = [circuit.state.replace("_", "-")]
    if circuit.state == "closed":
        failures = circuit.failure_count
        return f"closed, {_some(failures, 'failure')} in a row" if failures else "closed"
    if circuit.open_s is not None:
        words.append(f"for {duration(circuit.open_s)}")
    if circuit.last_error_code:
        words.append(f"({circuit.last_error_code})")
    text = " ".join(words)
    if circuit.next_probe_s is not None:
        text += f"; next probe {'now' if not circuit.next_probe_s else f'in {duration(circuit.next_probe_s)}'}"
    if waiting and allowed:
        text += f"; then {duration(waiting / allowed)} for {_some(waiting, 'mentor')}"
    return text


def paused(counts: Mapping[str, int]) -> str:
    """What an operator holds back."""
    mentors = counts.get("mentor", 0)
    parts = ["ALL deliveries"] if counts.get("all") else []
    parts += [_some(mentors, "mentor")] if mentors else []
    return f"{' and '.join(parts)}, by an operator (hlf-sync history)"


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
