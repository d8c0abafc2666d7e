"""The database of a simulated world: facts, ledger, circuit, halts and requests in memory, and the
ports of one worker over them.

Every effect is one synchronous step between two waits, as a statement is on a real server: a worker
that is killed, or whose answer is lost, may have had it done or not. What each step does is
postgres/statements/ledger.py's SQL, line by line; the contract suite of the ledger proves the SQL.
`bugs` are mistakes put into it on purpose (bugs.py).
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from math import inf
from random import Random
from typing import Any, TypeVar

from hlf_sync.core.breaker import BreakerPolicy, Circuit
from hlf_sync.core.dead_letter import DeadLetter
from hlf_sync.core.decide import Rules, due, next_look_s
from hlf_sync.core.evaluation import Evaluation
from hlf_sync.core.model import (
    Command,
    ContactId,
    Facts,
    HaltReason,
    Known,
    LedgerRow,
    LedgerState,
    MentorId,
    NoCall,
    Refuse,
    Trigger,
    Visibility,
    refusal_of,
)
from hlf_sync.core.outcome import Claimed, Ending
from hlf_sync.core.visibility import Fate, Snapshot
from hlf_sync.errors import DependencyError
from hlf_sync.ports import Fleet, Reading
from hlf_sync.postgres.fleet_state import FleetTable

from tests.fakes.contacts import Contacts

T = TypeVar("T")

EPOCH_S = 1_700_000_000.0
AUTH_RETRY_S = 3.0
RULES = Rules()
LONGEST_PAUSE_S = 10.0
"""What Dynamics asks for at the most."""
_SLACK_S = 1.0
OWED_S = 300.0
"""How long who is open stands still until the leader asks for it."""
_OPEN = frozenset({LedgerState.PENDING, LedgerState.IN_DOUBT})
_DATA = (
    "facts", "rows", "recorded", "versions", "circuit", "halts", "next_xid", "about", "contacts", "stood",
)  # fmt: skip


@dataclass
class Mood:
    """How the database serves: how long each way takes, how often it is away, and how often a
    COMMIT is done and its answer lost.
    """

    slowest_s: float = 0.01
    away: float = 0.0
    loses: float = 0.0


@dataclass
class Evidence:
    """What of a mentor a durable outcome rests on: how many of its commits the look showed, and
    when it began.
    """

    version: int = -1
    at_s: float = -1.0


@dataclass
class Halt:
    since_s: float
    probe_after_s: float | None


@dataclass
class Books:
    """The tables. `asked` is called with each sync request; `evidence` is what commits of offsets
    are measured by.
    """

    chance: Random
    late_effect_s: float
    lease_s: float
    bugs: frozenset[str] = frozenset()
    mood: Mood = field(default_factory=Mood)
    facts: dict[MentorId, Facts] = field(default_factory=dict)
    contacts: dict[MentorId, ContactId] = field(default_factory=dict)
    rows: dict[MentorId, LedgerRow] = field(default_factory=dict)
    recorded: dict[MentorId, int] = field(default_factory=dict)
    claims: Counter[MentorId] = field(default_factory=Counter)
    versions: Counter[MentorId] = field(default_factory=Counter)
    unseen: dict[MentorId, tuple[int, Facts]] = field(default_factory=dict)
    evidence: dict[MentorId, Evidence] = field(default_factory=dict)
    circuit: Circuit = field(default_factory=Circuit)
    halts: dict[HaltReason, Halt] = field(default_factory=dict)
    proved_at_s: float | None = None
    accepted_at_s: float | None = None
    asked: Callable[[MentorId, Trigger], None] = lambda _mentor_id, _trigger: None
    replays: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    next_xid: int = 1_000
    clock_s: float = EPOCH_S
    step_s: float = 0.0
    about: defaultdict[MentorId, Contacts] = field(default_factory=lambda: defaultdict(Contacts))
    stood: dict[MentorId, tuple[LedgerRow, float]] = field(default_factory=dict)
    backup: dict[str, Any] | None = None
    is_restored: bool = False
    is_down: bool = False

    @property
    def now_s(self) -> float:
        """PostgreSQL's clock, which can be set back."""
        return self.clock_s + self.moment_s

    @property
    def moment_s(self) -> float:
        """What passes in truth."""
        return asyncio.get_running_loop().time()

    @property
    def snapshot(self) -> Snapshot:
        running = frozenset(xid for xid, _ in self.unseen.values())
        return Snapshot(min(running, default=self.next_xid + 1), self.next_xid + 1, running)

    def write(self, mentor_id: MentorId, facts: Facts, *, is_visible: bool) -> tuple[int, int]:
        """Commit; the transaction's id, and which of the mentor's commits it is."""
        self.appear(mentor_id)
        self.next_xid += 1
        if is_visible:
            self.facts[mentor_id] = facts
            self.versions[mentor_id] += 1
            return self.next_xid, self.versions[mentor_id]
        self.unseen[mentor_id] = (self.next_xid, facts)
        return self.next_xid, self.versions[mentor_id] + 1

    def appear(self, mentor_id: MentorId) -> None:
        """A commit that was streamed already becomes visible."""
        unseen = self.unseen.pop(mentor_id, None)
        if unseen is not None:
            self.facts[mentor_id] = unseen[1]
            self.versions[mentor_id] += 1

    def known(self, mentor_id: MentorId) -> Known:
        row, contact_id = self.rows.get(mentor_id), self.contacts[mentor_id]
        seen, about = row or LedgerRow(), self.about[mentor_id]
        is_remapped = about.delivered_to not in {None, contact_id}
        return Known(
            self.facts.get(mentor_id),
            seen._replace(
                applied=None if is_remapped else seen.applied,
                doubtful_contacts=about.doubtful if seen.is_in_doubt else (),
            ),
            row is not None,
            contact_id,
            is_remapped,
            about.formers(seen, contact_id),
        )

    def schedule(self) -> None:
        """What the leader does each second."""
        now_s = self.now_s
        for mentor_id, row in self.rows.items():
            if row.reevaluate_at_s is not None and row.reevaluate_at_s <= now_s:
                is_soon = row.is_in_doubt and (row.doubt_until_s or 0.0) > now_s
                look_s = row.doubt_until_s if is_soon else None
                self.rows[mentor_id] = row._replace(reevaluate_at_s=look_s)
                is_expiry = row.state is LedgerState.IN_SYNC
                self.asked(mentor_id, Trigger.EXPIRY if is_expiry else Trigger.RECONCILIATION)
            elif self._is_owed(mentor_id, row):
                self.asked(mentor_id, Trigger.RECONCILIATION)

    def _is_owed(self, mentor_id: MentorId, row: LedgerRow) -> bool:
        """OWED: who is open, has no next look, and has stood still for so long; once."""
        before, since_s = self.stood.setdefault(mentor_id, (row, self.moment_s))
        if before != row:
            self.stood[mentor_id] = row, self.moment_s
            return False
        is_free = row.lease_until_s is None or row.lease_until_s <= self.now_s
        is_open = row.state in _OPEN and row.reevaluate_at_s is None and is_free
        if not is_open or self.moment_s < since_s + OWED_S:
            return False
        self.stood[mentor_id] = row, float("inf")
        return True

    # ---- what strikes the database itself

    def distrust(self) -> None:
        """DOUBT and DOUBT_UNKNOWN of postgres/statements/distrust.py."""
        grows = 0 if "operators_doubt_without_generation" in self.bugs else 1
        for mentor_id in self.facts:
            row, about = self.rows.get(mentor_id), self.about[mentor_id]
            self.about[mentor_id] = about.distrusted(row or LedgerRow(), self.contacts[mentor_id])
            if row is None:
                self.rows[mentor_id] = LedgerRow(
                    intended=Visibility.HIDDEN, state=LedgerState.IN_DOUBT
                )
            elif row.state is not LedgerState.OUT_OF_SCOPE or row.intended or row.applied:
                is_claimed = row.lease_until_s is not None and row.lease_until_s > self.now_s
                self.rows[mentor_id] = row._replace(
                    generation=row.generation + grows,
                    intended=row.intended or row.applied or Visibility.HIDDEN,
                    state=LedgerState.IN_DOUBT,
                    attempt_count=row.attempt_count if is_claimed else 0,
                )
            self.asked(mentor_id, Trigger.RECONCILIATION)

    def back_up(self) -> None:
        """A copy of the data directory."""
        self.backup = {name: deepcopy(getattr(self, name)) for name in _DATA}

    def restore(self) -> None:
        """The copy is put back: what was committed since is gone, and its transaction ids come
        again.
        """
        for name, value in deepcopy(self.backup or {}).items():
            setattr(self, name, value)
        self.unseen.clear()
        self.evidence.clear()
        self.is_restored = True

    def look_at_clock(self) -> None:
        """What the leader does with every look: watch/source_watch.py, postgres/clock_step.py."""
        if "clock_step_unnoticed" in self.bugs:
            return
        step_s, self.step_s = self.step_s, 0.0
        if step_s < 0.0 and "lapsed_by_a_wrong_clock" not in self.bugs:
            for mentor_id in self.facts:
                self.asked(mentor_id, Trigger.RECONCILIATION)
        self._rebase(step_s)

    def _rebase(self, step_s: float) -> None:
        now_s, lease_s, circuit = self.now_s, self.lease_s, self.circuit
        late_s, until_s = lease_s + self.late_effect_s, circuit.retry_after_until_s
        if step_s < 0 and until_s is not None and until_s > now_s:
            until_s = max(now_s, until_s + step_s)
        self.circuit = replace(
            circuit,
            opened_at_s=_least(circuit.opened_at_s, now_s),
            closed_at_s=_least(circuit.closed_at_s, now_s),
            probe_until_s=_least(circuit.probe_until_s, now_s + lease_s),
            retry_after_until_s=_least(until_s, now_s + LONGEST_PAUSE_S),
        )
        for halt in self.halts.values() if "halt_not_rebased" not in self.bugs else ():
            if halt.since_s > now_s + _SLACK_S:
                halt.since_s, halt.probe_after_s = now_s, _least(halt.probe_after_s, now_s)
            elif halt.probe_after_s is not None and halt.probe_after_s > now_s and step_s < 0:
                halt.probe_after_s = max(now_s, halt.probe_after_s + step_s)
        self.proved_at_s = _least(self.proved_at_s, now_s)
        self.accepted_at_s = _least(self.accepted_at_s, now_s)
        for mentor_id, row in self.rows.items():
            look_s = row.reevaluate_at_s
            is_lease_odd = (row.lease_until_s or 0.0) > now_s + lease_s + _SLACK_S
            if not is_lease_odd and (row.doubt_until_s or 0.0) <= now_s + late_s + _SLACK_S:
                continue
            self.rows[mentor_id] = row._replace(
                lease_until_s=_least(row.lease_until_s, now_s + lease_s),
                doubt_until_s=_least(row.doubt_until_s, now_s + late_s),
                reevaluate_at_s=_least(look_s, now_s + late_s) if row.state in _OPEN else look_s,
            )

    def note(self, mentor_id: MentorId, seen: Evidence) -> None:
        """A durable outcome rests on this look."""
        known = self.evidence.setdefault(mentor_id, Evidence())
        known.version, known.at_s = (
            max(known.version, seen.version),
            max(known.at_s, seen.at_s),
        )


class Session:
    """One process's way to the database."""

    def __init__(self, books: Books, owner: str) -> None:
        self.books, self.owner = books, owner
        self.is_dead = False
        self.frozen_until_s = 0.0
        self.looks: dict[MentorId, Evidence] = {}

    @property
    def is_frozen(self) -> bool:
        return self.frozen_until_s > asyncio.get_running_loop().time()

    async def execute(self, effect: Callable[[], T]) -> T:
        """One statement: there, done, back."""
        await self._travel()
        if self.books.is_down or self.books.chance.random() < self.books.mood.away:
            raise DependencyError("PostgreSQL", "away")
        found = effect()
        await self._travel()
        if self.books.is_down or self.books.chance.random() < self.books.mood.loses:
            raise DependencyError("PostgreSQL", "answer lost")
        return found

    async def _travel(self) -> None:
        await asyncio.sleep(self.books.chance.uniform(0.0, self.books.mood.slowest_s))
        frozen_s = self.frozen_until_s - asyncio.get_running_loop().time()
        if frozen_s > 0.0:
            await asyncio.sleep(frozen_s)
        if self.is_dead:
            raise asyncio.CancelledError

    # ---- FactsPort

    async def read(self, mentor_ids: Sequence[MentorId]) -> Reading:
        return await self.execute(lambda: self._reading(mentor_ids))

    def _reading(self, mentor_ids: Sequence[MentorId]) -> Reading:
        books = self.books
        reading = Reading(
            books.now_s,
            books.snapshot,
            {mentor_id: books.known(mentor_id) for mentor_id in mentor_ids},
        )
        for mentor_id, known in reading.mentors.items():
            look = Evidence(books.versions[mentor_id], books.moment_s)
            self.looks[mentor_id] = look
            if _is_at_rest(known, reading.now_s):
                books.note(mentor_id, look)  # nothing to do, on facts and row of one snapshot
        return reading

    async def fate(self, transaction_id: int) -> Fate:
        def fate() -> Fate:
            if transaction_id > self.books.next_xid:
                return Fate.UNKNOWN
            running = {xid for xid, _ in self.books.unseen.values()}
            return Fate.RUNNING if transaction_id in running else Fate.ENDED

        return await self.execute(fate)

    # ---- LedgerPort

    async def claim(self, evaluations: Sequence[Evaluation]) -> Mapping[MentorId, Claimed]:
        return await self.execute(
            lambda: {
                claim.mentor_id: claimed
                for claim in evaluations
                if (claimed := self._claim(claim)) is not None
            }
        )

    def _claim(self, claim: Evaluation) -> Claimed | None:
        books, now_s, generation = self.books, self.books.now_s, claim.before.generation + 1
        row = books.rows.get(claim.mentor_id)
        lease_s = 0.0 if "no_lease" in books.bugs else books.lease_s
        attempts, doubt_s = 1, None
        if row is not None:
            is_free = row.lease_until_s is None or row.lease_until_s <= now_s
            is_mine = row.lease_owner == self.owner
            is_repeated = row.generation == generation and is_mine
            if not (
                is_repeated or (row.generation == claim.before.generation and (is_free or is_mine))
            ):
                return None
            doubt_s = row.doubt_until_s
            if is_repeated:
                attempts = row.attempt_count
            else:
                attempts = row.attempt_count + 1 if row.state in _OPEN else 1
                if row.lease_owner is not None and "late_effect_not_asserted" not in books.bugs:
                    doubt_s = max(doubt_s or 0.0, (row.lease_until_s or 0.0) + books.late_effect_s)
        is_intent = "no_intent" not in books.bugs
        books.rows[claim.mentor_id] = (row or LedgerRow())._replace(
            intended=claim.operation.wanted if is_intent else None,
            state=LedgerState.IN_DOUBT if is_intent else LedgerState.PENDING,
            generation=generation,
            lease_owner=self.owner,
            lease_until_s=now_s + lease_s,
            attempt_count=attempts,
            doubt_until_s=doubt_s,
        )
        if claim.contact_id is not None and "contact_in_doubt_forgotten" not in books.bugs:
            about = books.about[claim.mentor_id]
            books.about[claim.mentor_id] = about.claimed(
                row or LedgerRow(), claim.contact_id, claim.operation
            )
        books.claims[claim.mentor_id] += 1
        return Claimed(claim.mentor_id, generation, attempts, now_s)

    async def record(self, evaluations: Sequence[Evaluation]) -> set[MentorId]:
        return await self.execute(lambda: self._record_all(evaluations))

    def _record_all(self, evaluations: Sequence[Evaluation]) -> set[MentorId]:
        recorded = set()
        for delivered in evaluations:
            if self._record(delivered):
                recorded.add(delivered.claimed.mentor_id)
            else:
                self._lose(delivered)
        return recorded

    def _record(self, delivered: Evaluation) -> bool:
        books, claimed = self.books, delivered.claimed
        mentor_id = claimed.mentor_id
        if books.recorded.get(mentor_id) == claimed.generation:
            return True
        row = books.rows.get(mentor_id)
        if row is None:
            return False
        is_ours = row.generation == claimed.generation and row.lease_owner == self.owner
        if not is_ours and "no_generation_check" not in books.bugs:
            return False
        assert delivered.contact_id is not None
        is_past = _is_past(row, delivered)
        about = books.about[mentor_id].recorded(
            delivered.conclusion.ending,
            delivered.contact_id,
            delivered.operation,
            before=delivered.before.doubtful_contacts,
            is_past=is_past,
            is_farewell=delivered.is_farewell,
        )
        is_over = is_past and not about.doubtful
        changed = _recorded(row, delivered, books.now_s, books.late_effect_s, is_over=is_over)
        books.rows[mentor_id] = changed._replace(lease_owner=None, lease_until_s=None)
        books.recorded[mentor_id], books.about[mentor_id] = claimed.generation, about
        if changed.attempt_count < 0:
            books.wrong.append(f"{mentor_id}: {changed.attempt_count} attempts")
        if delivered.conclusion.retry_in_s is None:
            books.note(mentor_id, self.looks[mentor_id])
        return True

    def _lose(self, delivered: Evaluation) -> None:
        books, mentor_id, now_s = self.books, delivered.claimed.mentor_id, self.books.now_s
        row, ending = books.rows.get(mentor_id), delivered.conclusion.ending
        if row is None:
            return
        free = row._replace(lease_owner=None, lease_until_s=None)
        if ending is Ending.RELEASED:
            if row.lease_owner == self.owner:
                attempts = max(0, row.attempt_count - 1)
                books.rows[mentor_id] = free._replace(attempt_count=attempts)
            return
        late_s = books.late_effect_s if ending is Ending.LATE else 0.0
        rested = {LedgerState.IN_SYNC, LedgerState.OUT_OF_SCOPE}
        base = free if row.lease_owner == self.owner else row
        grows = 0 if "lost_without_generation" in books.bugs else 1
        if delivered.contact_id is not None:
            about = books.about[mentor_id]
            books.about[mentor_id] = about.lost(row, delivered.contact_id)
        books.rows[mentor_id] = base._replace(
            generation=row.generation + grows,
            reevaluate_at_s=now_s,
            intended=row.intended or row.applied or Visibility.HIDDEN,
            doubt_until_s=max(row.doubt_until_s or 0.0, now_s + late_s),
            state=LedgerState.IN_DOUBT if row.state in rested else row.state,
        )

    async def settle(self, evaluations: Sequence[Evaluation]) -> set[MentorId]:
        return await self.execute(
            lambda: {one.mentor_id for one in evaluations if self._settle(one)}
        )

    def _settle(self, one: Evaluation) -> bool:
        row, now_s = self.books.rows.get(one.mentor_id), self.books.now_s
        if row is None:
            return False
        is_at_rest = row.generation == one.before.generation and row.intended is None
        is_free = row.lease_until_s is None or row.lease_until_s <= now_s
        if not ((is_at_rest or "settled_in_doubt" in self.books.bugs) and is_free):
            return False
        look_s = one.reevaluate_at_s
        if row.reevaluate_at_s is not None and row.reevaluate_at_s > now_s:
            look_s = min(row.reevaluate_at_s, look_s or row.reevaluate_at_s)
        self.books.rows[one.mentor_id] = row._replace(
            state=one.conclusion.state, attempt_count=0, dead_letter_id=None, reevaluate_at_s=look_s
        )
        return True

    async def refuse(self, letter: DeadLetter, evaluation: Evaluation) -> bool:
        return await self.execute(lambda: self._refuse(letter, evaluation))

    def _refuse(self, letter: DeadLetter, evaluation: Evaluation) -> bool:
        books, now_s = self.books, self.books.now_s
        mentor_id, generation = letter.mentor_id, letter.generation or 0
        assert mentor_id is not None
        row = books.rows.get(mentor_id)
        doubt_s = None
        if row is not None:
            is_decided_on = row.generation == evaluation.before.generation and (
                letter.attempt_count in {0, row.attempt_count}
            )
            is_repeated = row.generation == generation and row.dead_letter_id == letter.id
            is_free = row.lease_until_s is None or row.lease_until_s <= now_s
            if not ((is_decided_on or is_repeated) and is_free):
                return False
            doubt_s = row.doubt_until_s
            if row.lease_owner is not None:
                doubt_s = max(doubt_s or 0.0, (row.lease_until_s or 0.0) + books.late_effect_s)
        books.rows[mentor_id] = (row or LedgerRow())._replace(
            state=LedgerState.DEAD_LETTERED,
            reevaluate_at_s=_sooner(row and row.reevaluate_at_s, evaluation.reevaluate_at_s),
            generation=generation,
            last_error_code=letter.error_code,
            dead_letter_id=letter.id,
            doubt_until_s=doubt_s,
            lease_owner=None,
            lease_until_s=None,
        )
        books.note(mentor_id, self.looks[mentor_id])
        return True

    async def note_failure(self, letter: DeadLetter) -> None:
        mentor_id = letter.mentor_id
        assert mentor_id is not None
        await self.execute(lambda: self.books.asked(mentor_id, Trigger.RECONCILIATION))

    async def hold_removals(self, mentor_ids: Sequence[MentorId]) -> None:
        raise AssertionError("the guard is off")

    async def ask(self, mentor_ids: Sequence[MentorId], triggered_by: Trigger, reason: str) -> None:
        def ask() -> None:
            for mentor_id in mentor_ids:
                self.books.asked(mentor_id, triggered_by)

        await self.execute(ask)

    async def ask_all(
        self, triggered_by: Trigger, reason: str, *, only_if_known: bool = False
    ) -> int:
        await self.ask(list(self.books.facts), triggered_by, reason)
        return len(self.books.facts)


class Shared(FleetTable):
    """`FleetPort` over the books: the product's moves of the circuit, and halts of our own."""

    def __init__(self, session: Session, policy: BreakerPolicy) -> None:
        self._session, self._books, self._policy = session, session.books, policy

    async def halt(self, reason: HaltReason, detail: str, *, needs_probe: bool = False) -> Fleet:
        def halt() -> None:
            now_s = self._books.now_s
            halt = self._books.halts.setdefault(reason, Halt(now_s, None))
            if needs_probe and halt.probe_after_s is None:
                halt.probe_after_s = now_s

        return await self._after(halt)

    async def take_proof(self, wait_s: float) -> bool:
        def take() -> bool:
            halt, now_s = self._books.halts.get(HaltReason.AUTH), self._books.now_s
            if halt is None or halt.probe_after_s is None or halt.probe_after_s > now_s:
                return False
            halt.probe_after_s = now_s + wait_s
            return True

        return await self._session.execute(take)

    async def accepted(self) -> Fleet:
        def accept() -> None:
            halt = self._books.halts.get(HaltReason.AUTH)
            if halt is not None and halt.probe_after_s is None:
                del self._books.halts[HaltReason.AUTH]
            self._books.accepted_at_s = self._books.now_s

        return await self._after(accept)

    async def proved(self) -> Fleet:
        def prove() -> None:
            self._books.halts.pop(HaltReason.AUTH, None)
            self._books.proved_at_s = self._books.now_s

        return await self._after(prove)

    async def lift(self, reason: HaltReason) -> Fleet:
        return await self._after(lambda: self._books.halts.pop(reason, None))

    async def _after(self, effect: Callable[[], Any]) -> Fleet:
        await self._session.execute(effect)
        return await self.read()

    async def _move(self, move: Callable[[Circuit, float], Circuit]) -> Fleet:
        def moved() -> Fleet:
            books = self._books
            books.circuit = move(books.circuit, books.now_s)
            halt = books.halts.get(HaltReason.AUTH)
            return Fleet(
                books.circuit,
                frozenset(books.halts),
                books.now_s,
                halt.since_s if halt else None,
                halt.probe_after_s if halt else None,
                books.proved_at_s,
                books.accepted_at_s,
            )

        return await self._session.execute(moved)


def _least(first_s: float | None, second_s: float) -> float | None:
    return None if first_s is None else min(first_s, second_s)


def _is_at_rest(known: Known, now_s: float) -> bool:
    """Whether an evaluation of this reading ends without another statement."""
    row, decision = known.ledger, due(known, known.ledger, now_s, RULES)
    look_s = next_look_s(known.facts, now_s, RULES)
    is_planned = look_s is None or (row.reevaluate_at_s or inf) <= look_s
    is_lettered = (
        row.state is LedgerState.DEAD_LETTERED and row.dead_letter_id is not None and is_planned
    )
    match decision:
        case NoCall():
            return True
        case Refuse(error_code):
            return is_lettered and row.last_error_code == error_code
        case Command(operation, _, former):
            is_refused = row.refusal == refusal_of(former or known.contact_id, operation)
            return is_lettered and not row.is_in_doubt and is_refused


def _is_past(row: LedgerRow, delivered: Evaluation) -> bool:
    """Whether the call began after every late effect of older calls."""
    doubt_s = row.doubt_until_s
    return doubt_s is None or doubt_s <= delivered.claimed.claimed_at_s


def _recorded(
    row: LedgerRow, delivered: Evaluation, now_s: float, late_s: float, *, is_over: bool
) -> LedgerRow:
    """RECORD, for a row that is still its worker's. `is_over`: a success would end all doubt."""
    conclusion, before = delivered.conclusion, delivered.before
    counted = row.attempt_count - (0 if conclusion.counts else 1)
    code = conclusion.error_code and conclusion.error_code.value
    changed = row._replace(
        state=conclusion.state,
        attempt_count=counted,
        last_error_code=code,
        dead_letter_id=delivered.dead_letter_id or row.dead_letter_id,
        reevaluate_at_s=_sooner(row.reevaluate_at_s, delivered.planned_look_s),
    )
    match conclusion.ending:
        case Ending.APPLIED:
            return _applied(row, changed, delivered, is_over=is_over)
        case Ending.LATE:
            return changed._replace(doubt_until_s=now_s + late_s)
        case Ending.UNKNOWN:
            return changed
        case Ending.RELEASED:
            state = before.state or conclusion.state
            return row._replace(
                attempt_count=counted,
                intended=before.intended,
                state=state,
                reevaluate_at_s=changed.reevaluate_at_s,
            )
        case _:
            refused = row.refusal
            if delivered.dead_letter_id is not None:
                refused = refusal_of(delivered.contact_id, delivered.operation)
            return changed._replace(intended=before.intended, refusal=refused)


def _sooner(first_s: float | None, second_s: float | None) -> float | None:
    """SQL's `least`, which passes over what is missing."""
    return min((at_s for at_s in (first_s, second_s) if at_s is not None), default=None)


def _applied(
    row: LedgerRow, changed: LedgerRow, delivered: Evaluation, *, is_over: bool
) -> LedgerRow:
    wanted, doubt_s = delivered.operation.wanted, row.doubt_until_s
    look_s = delivered.planned_look_s
    done = changed._replace(
        applied=wanted, attempt_count=0, dead_letter_id=None, refusal=None, reevaluate_at_s=look_s
    )
    if is_over:
        return done._replace(intended=None, doubt_until_s=None)
    if doubt_s is None or _is_past(row, delivered):  # another contact is left in doubt
        return done._replace(state=LedgerState.IN_DOUBT, doubt_until_s=None)
    soon_s = doubt_s if look_s is None else min(look_s, doubt_s)
    return done._replace(state=LedgerState.IN_DOUBT, reevaluate_at_s=soon_s)
