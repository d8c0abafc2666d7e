"""Looks at everybody, looks again at whoever seemed wrong, and on demand repairs what is. Called by
the command line.

Two looks, because the workers go on meanwhile: between a commit and its delivery every mentor
differs for a moment, and for some of it the change is neither in the ledger nor in the topic yet. A
finding is told when two looks, `settle_s` apart, show the same on the same ledger row, and nothing
of it is in the workers' hands (a lease, an attempt to come, a change in the backlog). Who shows
another picture at each look is in motion.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from hlf_sync.config.settings import Settings
from hlf_sync.core.model import ContactId, LedgerRow, MentorId, Visibility
from hlf_sync.ports import Reading as FactsReading
from hlf_sync.postgres import delivery_blockers as surroundings
from hlf_sync.postgres.connections import Pool, reaching
from hlf_sync.postgres.delivery_blockers import Surroundings
from hlf_sync.postgres.facts import FactsView
from hlf_sync.postgres.reminders import repeated
from hlf_sync.reconcile import roll
from hlf_sync.reconcile.column import Column, ColumnReading
from hlf_sync.reconcile.difference import (
    Around,
    BookSight,
    FindingKind,
    Motion,
    Patience,
    ReconcileFinding,
    Remedy,
    Standing,
    again,
    compare,
    drift,
    may_be_read,
)
from hlf_sync.reconcile.listing import (
    Listing,
    most_contacts,
    read_listing,
    strangers_still_shown,
)
from hlf_sync.reconcile.repair import Order, repair
from hlf_sync.reconcile.repeated_calls import repeated_calls
from hlf_sync.reconcile.report import Found, Report
from hlf_sync.reconcile.under_way import under_way

Progress = Callable[[int], None]
Mapped = dict[MentorId, ContactId]
Mark = tuple[FindingKind, Visibility | None, LedgerRow] | None
"""What must be seen twice; None where nothing was found."""

_LOOKS = 3


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for. `only` empty: everybody."""

    only: Sequence[MentorId]
    is_repair: bool
    days: int
    settle_s: float
    patience: Patience


@dataclass(slots=True)
class Inspection:
    """One run. `column` is None without `--verify`."""

    settings: Settings
    pool: Pool
    wish: Wish
    column: Column | None
    progress: Progress
    report: Report = field(default_factory=Report)
    _suspects: dict[MentorId, Mark] = field(default_factory=dict)
    _drifted: set[MentorId] = field(default_factory=set)
    _listing: Listing | None = None

    async def run(self) -> Report:
        """All of it."""
        self.report.is_verifying = self.column is not None
        view = FactsView(self.pool)
        await view.ping()
        await self._read_listing()
        async for page in roll.pages(self.pool, self.wish.only):
            await self._first_look(await view.read(page))
        suspects = self._suspects
        for _ in range(_LOOKS):
            if suspects:
                await asyncio.sleep(self.wish.settle_s)
                suspects = await self._look_again(view, suspects)
        self.report.moving |= dict.fromkeys(suspects, "keeps_moving")
        await self._look_for_strangers()
        async for duplicate in repeated_calls(self.pool, self.wish.days, list(self.wish.only)):
            self.report.duplicates.append(duplicate)
        with reaching("PostgreSQL"):
            async with self.pool.connection() as connection:
                self.report.repeated_reminders = await repeated(
                    connection, self.wish.days, list(self.wish.only)
                )
        if self.wish.is_repair:
            await repair(
                self.pool,
                [
                    _order(one)
                    for one in self.report.differences
                    if one.finding.remedy is not Remedy.PERSON
                ],
            )
            self.report.is_repaired = True
        return self.report

    async def _read_listing(self) -> None:
        """The whole listing, unless only some mentors are asked about: those are read singly."""
        if self.column is None or self.wish.only:
            return
        most = most_contacts(await roll.count(self.pool))
        self._listing = await read_listing(self.column, most)
        if self._listing is not None:
            self.report.listed = len(self._listing.shown)
            self.report.notes += [note] if (note := self._listing.note) else []

    async def _look_for_strangers(self) -> None:
        if self.column is None or self._listing is None:
            return
        shown = self._listing.shown

        async def listed() -> AsyncIterator[frozenset[ContactId]]:
            yield shown

        self.report.strangers = await strangers_still_shown(self.column, self.pool, listed())

    async def _first_look(self, reading: FactsReading) -> None:
        self.report.checked += len(reading.mentors)
        in_step: Mapped = {}
        for mentor_id, known in reading.mentors.items():
            sight = BookSight(known, reading.now_s)
            standing = compare(sight, self.wish.patience)
            if standing is not None:
                self._suspects[mentor_id] = _mark(standing, known.ledger)
            elif known.contact_id is not None and may_be_read(sight, self.wish.patience.rules):
                in_step[mentor_id] = known.contact_id
        if self.column is None:
            self.progress(len(reading.mentors))
            return
        to_read = self._differing(in_step, reading)
        self.report.verified += len(in_step) - len(to_read)
        self.progress(len(reading.mentors) - len(to_read))
        read = await self.column.read(list(to_read.items()), self.progress)
        for mentor_id, column in read.items():
            if column.is_skipped:
                self.report.skipped += 1
                self.report.stopped = column.error_code
            elif column.shown is not None and self._agrees(mentor_id, column.shown, reading):
                self.report.verified += 1
            else:
                self._drifted.add(mentor_id)
                self._suspects[mentor_id] = None

    def _differing(self, in_step: Mapped, reading: FactsReading) -> Mapped:
        """Who must be read singly: those of whom the listing says something else, or all where
        there is none.
        """
        if self._listing is None:
            return in_step
        shown = self._listing.shown
        return {
            mentor_id: contact_id
            for mentor_id, contact_id in in_step.items()
            if not self._agrees(
                mentor_id,
                Visibility.VISIBLE if contact_id in shown else Visibility.HIDDEN,
                reading,
            )
        }

    def _agrees(self, mentor_id: MentorId, shown: Visibility, reading: FactsReading) -> bool:
        sight = BookSight(reading.mentors[mentor_id], reading.now_s)
        return drift(sight, shown, self.wish.patience.rules) is None

    async def _look_again(
        self, view: FactsView, suspects: dict[MentorId, Mark]
    ) -> dict[MentorId, Mark]:
        """Who must be looked at once more, because this look shows another picture than the one
        before.
        """
        ids, left = list(suspects), dict[MentorId, Mark]()
        for start in range(0, len(ids), roll.PAGE):
            left |= await self._second_look(
                await view.read(ids[start : start + roll.PAGE]), suspects
            )
        return left

    async def _second_look(
        self, reading: FactsReading, suspects: dict[MentorId, Mark]
    ) -> dict[MentorId, Mark]:
        left: dict[MentorId, Mark] = {}
        patience, mentor_ids = self.wish.patience, list(reading.mentors)
        around = await surroundings.read(self.pool, self.settings.organization)
        still = await roll.still(self.pool, mentor_ids)
        backlog = await under_way(self.settings, frozenset(mentor_ids))
        self._note_backlog(backlog.trouble, backlog.unhandled, around)
        to_read: Mapped = {}
        for mentor_id, known in reading.mentors.items():
            sight = BookSight(known, reading.now_s)
            seen = Around(still.get(mentor_id, 0.0), around.is_clear, backlog.is_named(mentor_id))
            found = compare(sight, patience)
            standing, mark = again(found, seen, patience), _mark(found, known.ledger)
            if isinstance(standing, ReconcileFinding) and mark != suspects[mentor_id]:
                left[mentor_id] = mark
                continue
            if standing is None and mentor_id in self._drifted and known.contact_id is not None:
                to_read[mentor_id] = known.contact_id
            self._tell(mentor_id, standing, reading)
        await self._read_again(to_read, reading)
        return left

    async def _read_again(self, to_read: Mapped, reading: FactsReading) -> None:
        """Drift is told only when it shows twice, with the ledger at rest in between."""
        if self.column is None or not to_read:
            return
        read = await self.column.read(list(to_read.items()), lambda _count: None)
        rows = await FactsView(self.pool).read(list(to_read))
        for mentor_id, column in read.items():
            known = rows.mentors[mentor_id]
            if known.ledger != reading.mentors[mentor_id].ledger:
                self.report.moving[mentor_id] = "being_delivered"
            else:
                self._tell_read(
                    mentor_id,
                    BookSight(known, rows.now_s),
                    column,
                    rows,
                )

    def _tell_read(
        self, mentor_id: MentorId, sight: BookSight, column: ColumnReading, reading: FactsReading
    ) -> None:
        if column.is_missing:
            self._tell(
                mentor_id,
                ReconcileFinding(
                    FindingKind.CONTACT_MISSING, "not_found", Remedy.PERSON, sight.ledger.applied
                ),
                reading,
            )
        elif column.shown is None:
            self.report.unread[mentor_id] = column.error_code or "unexpected"
        else:
            self.report.verified += 1
            self._tell(mentor_id, drift(sight, column.shown, self.wish.patience.rules), reading)

    def _tell(self, mentor_id: MentorId, standing: Standing, reading: FactsReading) -> None:
        match standing:
            case ReconcileFinding():
                self.report.found.append(
                    Found(mentor_id, standing, reading.mentors[mentor_id].ledger)
                )
            case Motion(reason):
                self.report.moving[mentor_id] = reason
            case None:
                pass

    def _note_backlog(self, trouble: str | None, unhandled: int, around: Surroundings) -> None:
        notes = []
        if trouble is not None:
            notes.append(f"{trouble}: what is under way cannot be told from what differs")
        if unhandled:
            notes.append(
                f"{unhandled} records of {self.settings.changes_topic} are not handled yet"
            )
        if obstacles := around.obstacles():
            notes.append(f"deliveries wait: {', '.join(obstacles)}")
        notes += [f"what is asked for waits: {line}" for line in around.reported()]
        self.report.notes += [note for note in notes if note not in self.report.notes]


def _mark(standing: Standing, ledger: LedgerRow) -> Mark:
    return (
        (standing.kind, standing.wanted, ledger) if isinstance(standing, ReconcileFinding) else None
    )


def _order(one: Found) -> Order:
    return Order(
        one.mentor_id,
        one.finding.kind.value,
        one.finding.remedy,
        one.finding.wanted,
        one.ledger.generation,
    )
