"""What is open, in memory, and what changed of it, in order: the one picture that all callers and
all streams share.

Filled by `watching`; asked by `pending` and `events`. Pure but for the event that wakes the
streams. An event's id is this process's random mark and a number: an id of another process, or of
too long ago, is answered by starting over.
"""

import asyncio
import secrets
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from uuid import UUID

from hlf_sync.core.fleet_verdict import LATE_S
from hlf_sync.core.open_update import Cause, Conditions, OpenUpdate, judge
from hlf_sync.postgres.coordinator_view import MentorRow
from hlf_sync.web.items import Judging, make_item, moment, since
from hlf_sync.web.models import Counts, Head, Item
from hlf_sync.web.words import AWAY, FleetVerdict, verdict, with_given_up

# What a page that was away for some minutes can catch up with; then it starts over.
KEPT = 20_000
# One change of the surroundings touches every open mentor; beyond so many the verdict says it.
_MOST_AT_ONCE = 500
_MOST_CLOSED = 1_000


@dataclass(slots=True)
class BoardEntry:
    """One open mentor."""

    row: MentorRow
    update: OpenUpdate
    item: Item
    since_s: float


class Board:
    """What is open."""

    def __init__(self, judging: Judging) -> None:
        self.judging = judging
        self.around: Conditions | None = None
        self.is_away = False
        self._entries: dict[UUID, BoardEntry] = {}
        self._sorted: list[BoardEntry] | None = None
        self._counts: Counts | None = None
        self._said: FleetVerdict | None = None
        self._mark = secrets.token_hex(4)
        self._frames: deque[bytes] = deque(maxlen=KEPT)
        self._last = self._woken_at = 0
        self._joined: tuple[int, int, bytes] = (0, 0, b"")
        self._full: tuple[int, tuple[bytes, ...]] = (-1, ())
        self._news = asyncio.Event()
        self.closed: set[str] = set()
        self.is_closed = False

    @property
    def last(self) -> int:
        """The newest event's number."""
        return self._last

    @property
    def news(self) -> asyncio.Event:
        """Set at the next event; then another one takes its place."""
        return self._news

    def event_id(self, number: int) -> str:
        """An event's id."""
        return f"{self._mark}-{number}"

    def number(self, event_id: str | None) -> int | None:
        """The number of an id; None where what came after it is not at hand."""
        mark, _, digits = (event_id or "").partition("-")
        if mark != self._mark or not digits.isascii() or not digits.isdigit() or len(digits) > 15:  # noqa: PLR2004
            return None
        number = int(digits)
        return number if self._last - len(self._frames) <= number <= self._last else None

    def after(self, number: int) -> bytes | None:
        """The events after a number, as they are sent; None when some are no longer at hand."""
        behind = self._last - number
        if behind > len(self._frames):
            return None
        if self._joined[:2] != (number, self._last):  # nearly all streams stand at the same number
            frames = [self._frames[-index] for index in range(behind, 0, -1)]
            self._joined = (number, self._last, b"".join(frames))
        return self._joined[2]

    def full(self) -> tuple[int, tuple[bytes, ...]]:
        """Everything, as events for who starts over, in pieces, and the number it stands for."""
        if self._full[0] != self._last:
            said = [("reset", _json(self.head()))]
            said += [("pending", _json(entry.item)) for entry in self.sorted()]
            # Whoever is cut off in the middle must start over: only the last id stands for all.
            ids = [f"{self.event_id(self._last)}-part"] * (len(said) - 1)
            ids.append(self.event_id(self._last))
            frames = [_frame(*one, at) for one, at in zip(said, ids, strict=True)]
            pieces = (b"".join(frames[at : at + 200]) for at in range(0, len(frames), 200))
            self._full = (self._last, tuple(pieces))
        return self._full

    def head(self) -> Head:
        """Verdict and counts."""
        around, told = self.around, self._told()
        return Head(
            as_of=moment(around.now_s if around else 0.0),
            verdict=told.standing.value,
            verdict_reason=told.reason,
            verdict_message=told.message,
            verdict_since=None if told.since_s is None else moment(told.since_s),
            counts=self.counts(),
        )

    def _told(self) -> FleetVerdict:
        """What the fleet's state comes to, for those who are open here."""
        if self.around is None or self.is_away:
            return AWAY
        return with_given_up(verdict(self.around), self.counts().dead_lettered)

    def counts(self) -> Counts:
        """How many are open, by state."""
        if self._counts is None:
            found = Counter(entry.update.state.value for entry in self._entries.values())
            self._counts = Counts(**found)
        return self._counts

    def sorted(self) -> list[BoardEntry]:
        """The oldest first."""
        if self._sorted is None:
            self._sorted = sorted(self._entries.values(), key=_place)
        return self._sorted

    def page(self, after: tuple[float, str] | None, limit: int) -> tuple[list[BoardEntry], bool]:
        """Entries after a place, and whether there are more."""
        entries = self.sorted()
        begin = bisect_right(entries, after, key=_place) if after else 0
        return entries[begin : begin + limit], begin + limit < len(entries)

    def since_of(self, mentor_id: UUID) -> float | None:
        """Since when a mentor is open, where it is."""
        entry = self._entries.get(mentor_id)
        return entry.since_s if entry else None

    def look_some(
        self, asked: Collection[UUID], rows: Iterable[MentorRow], around: Conditions
    ) -> None:
        """These mentors were read; who was asked for and is not there is not open."""
        gone = set(asked)
        self._begin(around)
        for row in rows:
            gone.discard(row.mentor_id)
            self._put(row, around, is_said=True, is_new=False)
        for mentor_id in gone:
            self._drop(mentor_id)
        self._tell()
        self._wake()

    def keep_only(self, mentor_ids: Collection[UUID], around: Conditions) -> None:
        """Nobody else is open."""
        self._begin(around)
        for mentor_id in self._entries.keys() - mentor_ids:
            self._drop(mentor_id)
        self._tell()
        self._wake()

    def away(self) -> None:
        """PostgreSQL does not answer: what is held is no longer what is."""
        if not self.is_away:
            self.is_away = True
            self._tell()
            self._wake()

    def close(self) -> None:
        """The service stops: streams end."""
        self.is_closed = True
        self._wake()

    def _begin(self, around: Conditions) -> None:
        before = self.around
        self.around, self.is_away = around, False
        self._tell()
        if before is not None and _obstacles(before) != _obstacles(around):
            self._rejudge(around)

    def _tell(self) -> None:
        """Say the verdict where it is another one than was said last."""
        told = self._told()
        if told != self._said:
            self._said = told
            self._say("verdict", _json(self.head()))

    def _rejudge(self, around: Conditions) -> None:
        """What waits for all has changed: so has what each waits for."""
        is_said = len(self._entries) <= _MOST_AT_ONCE
        for entry in list(self._entries.values()):
            self._put(entry.row, around, is_said=is_said, is_new=True)

    def _put(self, row: MentorRow, around: Conditions, *, is_said: bool, is_new: bool) -> None:
        judging, before = self.judging, self._entries.get(row.mentor_id)
        # A lease ends and a wait gets late without the row's changing; all else that a judgement looks
        # at is in the row.
        may_differ = is_new or row.case.known.ledger.lease_until_s is not None
        if before is not None and before.update.cause is Cause.WAITING:
            may_differ = may_differ or around.now_s - before.since_s > LATE_S
        if before is not None and before.row == row and not may_differ:
            return
        noticed_s = before.since_s if before else around.now_s
        case = replace(row.case, noticed_s=noticed_s)
        update = judge(case, around, judging.rules, judging.retry)
        if update is None:
            # A few tens exist; statuses are free text. What an heir decides is in no signature.
            if len(self.closed) < _MOST_CLOSED and not row.case.known.formers:
                self.closed.add(row.signature)
            self._drop(row.mentor_id)
            return
        if before is not None and before.row == row and before.update == update:
            return
        since_s = since(update, around, before.since_s if before else None)
        item = make_item(row, update, since_s, judging.mentor_url)
        self._entries[row.mentor_id] = BoardEntry(row, update, item, since_s)
        self._sorted = self._counts = None
        if is_said and (before is None or before.item != item):
            self._say("pending", _json(item))

    def _drop(self, mentor_id: UUID) -> None:
        if self._entries.pop(mentor_id, None) is not None:
            self._sorted = self._counts = None
            self._say("resolved", f'{{"mentor_id":"{mentor_id}"}}'.encode())

    def _say(self, name: str, content: bytes) -> None:
        self._last += 1
        self._frames.append(_frame(name, content, self.event_id(self._last)))

    def _wake(self) -> None:
        """Hundreds of streams turn at each: not where nothing was said."""
        if self._woken_at == self._last and not self.is_closed:
            return
        self._woken_at = self._last
        news, self._news = self._news, asyncio.Event()
        news.set()


def _place(entry: BoardEntry) -> tuple[float, str]:
    return entry.since_s, str(entry.row.mentor_id)


def _obstacles(around: Conditions) -> tuple[object, ...]:
    is_paused = (around.pause_until_s or 0.0) > around.now_s
    return (
        around.halts,
        around.circuit,
        around.circuit_until_s,
        around.pause_until_s if is_paused else None,
        around.is_unheard,
        around.unread,
    )


def _json(model: Head | Item) -> bytes:
    return model.model_dump_json().encode()


def _frame(name: str, content: bytes, event_id: str) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event_id.encode(), name.encode(), content)
