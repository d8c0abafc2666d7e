"""What the page shows of an item, in words: pure, from the API's models to sentences. The rules stay
where they are (core/open_update); a cause or code that is new here falls back to the API's message.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2s
from uuid import UUID

from hlf_sync.core.model import HaltReason
from hlf_sync.core.open_update import Cause
from hlf_sync.web.models import Forced, Item, MentorItem, PastCall, PendingPage, RequestStatus
from hlf_sync.web.page.words import Words

# A request is news beside its mentor for this long.
_NEWS = timedelta(minutes=15)
_NEXT: dict[str, str] = {
    Cause.PAUSED: "person",
    Cause.NO_WORKER: "return",
    Cause.UNREAD: "return",
    Cause.LATE: "return",
    Cause.AUTH: "person",
    Cause.DEAD_LETTER_LIMIT: "person",
    Cause.HALTED: "return",
    Cause.SHADOW: "return",
    Cause.CIRCUIT_OPEN: "return",
    Cause.THROTTLED: "return",
    Cause.HELD: "person",
    Cause.UNMAPPED: "person",
    Cause.REFUSED: "person",
    Cause.REJECTED: "person",
    Cause.EXHAUSTED: "you",
}
_TONES = {
    "pending": "wait",
    "in_doubt": "wait",
    "dead_lettered": "bad",
    "held": "held",
    "in_sync": "good",
}
_VERDICT_TONES = {"ok": "good", "lagging": "wait"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageMoment:
    """A time for a `<time>`: for machines, on the wall, and from now."""

    iso: str
    clock: str
    ago: str
    is_past: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One mentor. `version` changes when anything but the passing of time does, so that the page's
    script leaves a row alone that says what it said.
    """

    mentor_id: str
    short: str
    tone: str
    state: str
    should_be: str
    shown: str
    since: PageMoment | None
    why: str
    next_try: PageMoment | None
    next_words: str
    tries: int
    url: str | None
    asked: str | None
    last_delivered: PageMoment | None
    is_open: bool
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """How the service as a whole is."""

    tone: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageEvent:
    """A line of a history: a delivery or a request."""

    at: PageMoment
    mentor_id: str
    text: str
    detail: str


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells in `words` to the coordinator `subject`, at the moment `now`."""

    words: Words
    subject: str
    now: datetime

    def moment(self, at: datetime) -> PageMoment:
        """A time in words."""
        return PageMoment(
            iso=at.isoformat(timespec="seconds"),
            clock=self.words.clock(at, self.now),
            ago=self.words.ago(at, self.now),
            is_past=at <= self.now,
        )

    def row(self, item: Item, asked: Forced | None = None) -> Row:
        """One mentor; `asked` is the newest request for it."""
        is_settled = isinstance(item, MentorItem) and item.state == "in_sync"
        delivered = item.last_delivered_at if isinstance(item, MentorItem) else None
        content = (
            *(self._sentences(item)),
            None if is_settled else item.since,
            item.next_try_at,
            item.attempt_count,
            self._asked(asked),
            delivered,
        )
        should_be, shown, why, next_words = self._sentences(item)
        return Row(
            mentor_id=str(item.mentor_id),
            short=str(item.mentor_id)[:8],
            tone=_TONES[item.state],
            state=self.words(f"state-{item.state}"),
            should_be=should_be,
            shown=shown,
            since=None if is_settled else self.moment(item.since),
            why=why,
            next_try=self.moment(item.next_try_at) if item.next_try_at else None,
            next_words=next_words,
            tries=item.attempt_count,
            url=item.url,
            asked=self._asked(asked),
            last_delivered=self.moment(delivered) if delivered else None,
            is_open=not is_settled,
            version=_version(item.state, *content),
        )

    def _sentences(self, item: Item) -> tuple[str, str, str, str]:
        words, key = self.words, f"why-{item.cause}"
        why = words(key, **self._values(item)) if words.has(key) else item.message
        return (
            words(item.should_be or "undecided"),
            words(item.shown),
            why,
            words(f"next-{_NEXT.get(item.cause, 'none')}"),
        )

    def _values(self, item: Item) -> dict[str, str]:
        return {"error": self.error(item.error_code)} if item.cause == Cause.RETRYING else {}

    def error(self, code: str | None) -> str:
        """What an error code means."""
        return self.words.first(f"error-{code}", "error-other")

    def _asked(self, asked: Forced | None) -> str | None:
        if asked is None or self.now - asked.created_at > _NEWS:
            return None
        key = f"asked-{self._whose(asked)}"
        reason = asked.reason or self.words("no-reason")
        return self.words(key, at=self.words.clock(asked.created_at, self.now), reason=reason)

    def rows(self, items: Iterable[Item], forced: Iterable[Forced]) -> list[Row]:
        """Rows with the newest request of each; `forced` comes newest first."""
        newest: dict[UUID, Forced] = {}
        for one in forced:
            newest.setdefault(one.mentor_id, one)
        return [self.row(item, newest.get(item.mentor_id)) for item in items]

    def banner(self, page: PendingPage) -> Banner:
        """The fleet's verdict."""
        tone = _VERDICT_TONES.get(page.verdict, "bad")
        is_ok, reason, since = page.verdict == "ok", page.verdict_reason, page.verdict_since
        # A reason that is new here: what it comes to.
        keys = [f"verdict-{reason}", f"why-{reason}", f"verdict-{page.verdict}"]
        if since is not None:
            keys = [f"verdict-{reason}-since", f"verdict-{page.verdict}-since", *keys]
        at = "" if since is None else self.words.clock(since, self.now)
        text = self.words.first(*(keys[-1:] if is_ok else keys), since=at)
        is_held = page.counts.held > 0 and reason != HaltReason.MASS_REMOVAL
        if is_held and not is_ok:
            text = f"{text} {self.words('verdict-also-held')}"
        return Banner(tone=tone, text=text)

    def counts(self, counts: Mapping[str, int]) -> list[str]:
        """How many of each state, those that there are."""
        return [self.words(f"count-{name}", count=n) for name, n in counts.items() if n]

    def deliveries(self, deliveries: Iterable[PastCall], mentor_id: UUID) -> list[PageEvent]:
        """A mentor's last deliveries."""
        return [self._delivery(one, mentor_id) for one in deliveries]

    def _delivery(self, one: PastCall, mentor_id: UUID) -> PageEvent:
        outcome = "unknown" if one.outcome == "late" else one.outcome
        key = f"delivery-{one.operation}-{outcome}"
        trigger = self.words.first(f"trigger-{one.triggered_by}", "trigger-other")
        return PageEvent(
            at=self.moment(one.at),
            mentor_id=str(mentor_id),
            text=self.words.first(
                key, f"delivery-{one.operation}-unknown", error=self.error(one.error_code)
            ),
            detail=self.words("delivery-because", trigger=trigger),
        )

    def requests(self, forced: Iterable[Forced]) -> list[PageEvent]:
        """What was asked for: `text` is why, `detail` who."""
        return [
            PageEvent(
                at=self.moment(one.created_at),
                mentor_id=str(one.mentor_id),
                text=one.reason or self.words("no-reason"),
                detail=self._who(one),
            )
            for one in forced
        ]

    def _who(self, one: Forced) -> str:
        whose = self._whose(one)
        if whose == "other":
            return one.requested_by or ""
        return self.words(f"who-{whose}", name=one.requested_by or "?")

    def _whose(self, one: Forced) -> str:
        """An operator's command, this coordinator, the application itself, or another person."""
        if one.is_by_operator:
            return "operator"
        if one.requested_by == self.subject:
            return "you"
        return "other" if one.requested_by else "application"

    def outcome(self, request: RequestStatus) -> str:
        """What became of a request."""
        at = self.words.clock(request.created_at, self.now)
        if request.state == "failed":
            return self.words("asked-failed", at=at, error=self.error(request.outcome))
        is_nothing = request.outcome == "nothing_to_do"
        key = "asked-done-nothing" if is_nothing else f"asked-{request.state}"
        return self.words(key, at=at)


def _version(*content: object) -> str:
    return blake2s(repr(content).encode(), digest_size=8).hexdigest()
