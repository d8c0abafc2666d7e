"""Rows and what they mean, as the models that callers get. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hlf_sync.core.decide import Rules
from hlf_sync.core.model import Visibility
from hlf_sync.core.open_update import Conditions, OpenUpdate
from hlf_sync.core.retry import RetryPolicy
from hlf_sync.postgres.coordinator_view import MentorRow
from hlf_sync.web.models import Item, MentorItem
from hlf_sync.web.words import AT_REST, SENTENCES


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """What rows are judged by."""

    rules: Rules
    retry: RetryPolicy
    mentor_url: str | None = None


def moment(at_s: float) -> datetime:
    """Epoch seconds for people. Infinity, which PostgreSQL has and a date has not: the last day."""
    return datetime.fromtimestamp(min(max(at_s, 0.0), _LAST_S), UTC)


_LAST_S = 253_402_300_799.0


def _maybe(at_s: float | None) -> datetime | None:
    return None if at_s is None else moment(at_s)


def since(update: OpenUpdate, around: Conditions, known_s: float | None) -> float:
    """Since when it is open: what core/open_update finds, else when this process saw it first."""
    told = [at for at in (update.since_s, known_s) if at is not None]
    return min(told, default=around.now_s)


def make_item(row: MentorRow, update: OpenUpdate, since_s: float, url: str | None) -> Item:
    """What a coordinator is shown of an open mentor."""
    return Item(**_fields(row, update, since_s, url))


def make_mentor(
    row: MentorRow,
    update: OpenUpdate | None,
    around: Conditions,
    judging: Judging,
    since_s: float | None,
) -> MentorItem:
    """The same of any mentor, also when nothing is open."""
    delivered = _maybe(row.last_delivered_s)
    if update is not None:
        began_s = since(update, around, since_s)
        fields = _fields(row, update, began_s, judging.mentor_url)
        return MentorItem(**fields, last_delivered_at=delivered)
    ledger = row.case.known.ledger
    at_s = row.last_delivered_s or row.case.updated_s or around.now_s
    return MentorItem(
        mentor_id=row.mentor_id,
        should_be="visible" if ledger.applied is Visibility.VISIBLE else "hidden",
        shown=ledger.applied.value if ledger.applied else "unknown",
        since=moment(at_s),
        state="in_sync",
        error_code=None,
        attempt_count=0,
        next_try_at=None,
        triggered_by=row.triggered_by,
        cause="in_sync",
        message=AT_REST,
        url=_url(row, judging.mentor_url),
        last_delivered_at=delivered,
    )


def _fields(row: MentorRow, update: OpenUpdate, since_s: float, url: str | None) -> dict[str, Any]:
    # What no worker has looked at yet was triggered by nothing that the ledger knows: its row tells of
    # what was delivered before.
    ledger, is_booked = row.case.known.ledger, update.is_booked
    return {
        "mentor_id": row.mentor_id,
        "should_be": update.should_be.value if update.should_be else None,
        "shown": update.shown.value if update.shown else "unknown",
        "since": moment(since_s),
        "state": update.state.value,
        "error_code": ledger.last_error_code if is_booked else None,
        "attempt_count": ledger.attempt_count if is_booked else 0,
        "next_try_at": _maybe(update.next_try_s),
        "triggered_by": row.triggered_by if is_booked else None,
        "cause": update.cause.value,
        "message": SENTENCES[update.cause],
        "url": _url(row, url),
    }


def _url(row: MentorRow, url: str | None) -> str | None:
    return url.replace("{mentor_id}", str(row.mentor_id)) if url else None
