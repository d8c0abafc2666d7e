"""A small world around the real core: database, ledger, topic, circuit and Dynamics in memory, and
workers that do what the core decides.

Used by test_machine.py only. Nothing here decides: mentor queue, offsets, visibility, decide,
verdict, outcome, retry and breaker are consumer/hlf_sync/core's own. One clock for all; it moves
when the machine moves it.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import count

from hlf_sync.core import breaker
from hlf_sync.core.answer import Answer, NoResponse, Response, TransportFailure
from hlf_sync.core.breaker import BreakerPolicy, Circuit, Go, Probe, State
from hlf_sync.core.decide import Rules, due, next_look_s
from hlf_sync.core.evaluation import Evaluation
from hlf_sync.core.mentor_queue import CollapsePolicy, MentorQueue
from hlf_sync.core.model import (
    Change,
    Command,
    ContactId,
    Facts,
    Known,
    LedgerRow,
    LedgerState,
    MentorId,
    NoCall,
    Position,
    Trigger,
    Visibility,
)
from hlf_sync.core.offsets import Offsets
from hlf_sync.core.outcome import RELEASED, Conclusion, Ending, conclude
from hlf_sync.core.retry import RetryPolicy
from hlf_sync.core.verdict import judge
from hlf_sync.core.visibility import Snapshot

from tests.fakes.contacts import Contacts

LEASE_S, TIMEOUT_S, LATE_S = 20.0, 5.0, 30.0
RULES, RETRY, BREAKER = (
    Rules(),
    RetryPolicy(base_delay_s=1, jitter_s=0),
    BreakerPolicy(cool_down_s=10, probe_s=LEASE_S),
)
OK = Response(204)
NEVER = NoResponse(TransportFailure.READ_TIMEOUT)


@dataclass
class Database:
    """Facts with commits that may not be visible yet, the mapping, the ledger's rows, the circuit."""

    now_s: float = 1_000.0
    facts: dict[MentorId, Facts | None] = field(default_factory=dict)
    unseen: list[tuple[int, MentorId, Facts | None]] = field(default_factory=list)
    rows: dict[MentorId, LedgerRow] = field(default_factory=dict)
    turns: dict[MentorId, int] = field(default_factory=dict)  # how often it was mapped anew
    about: defaultdict[MentorId, Contacts] = field(default_factory=lambda: defaultdict(Contacts))
    circuit: Circuit = field(default_factory=Circuit)
    letters: list[str] = field(default_factory=list)
    is_moved_by_a_stranger: bool = False
    next_xid: int = 100

    def write(self, mentor_id: MentorId, facts: Facts | None, *, is_visible: bool) -> int:
        """Commit; the transaction's id."""
        self.next_xid += 1
        if is_visible and not any(other == mentor_id for _, other, _ in self.unseen):
            self.facts[mentor_id] = facts
        else:
            self.unseen.append((self.next_xid, mentor_id, facts))
        return self.next_xid

    def appear(self) -> None:
        """The oldest commit that is not visible becomes so."""
        if self.unseen:
            _, mentor_id, facts = self.unseen.pop(0)
            self.facts[mentor_id] = facts

    @property
    def snapshot(self) -> Snapshot:
        """What a statement sees now."""
        running = frozenset(xid for xid, _, _ in self.unseen)
        return Snapshot(min(running, default=self.next_xid + 1), self.next_xid + 1, running)

    def row(self, mentor_id: MentorId) -> LedgerRow:
        """The ledger's row, as if there always were one."""
        return self.rows.get(mentor_id, LedgerRow())

    def contact(self, mentor_id: MentorId) -> ContactId:
        """The one that is mapped."""
        return ContactId(f"{mentor_id}-{self.turns.get(mentor_id, 0)}")

    def known(self, mentor_id: MentorId) -> Known:
        """What a statement's snapshot shows of a mentor."""
        row, about, mapped = self.row(mentor_id), self.about[mentor_id], self.contact(mentor_id)
        is_remapped = about.delivered_to not in {None, mapped}
        seen = row._replace(
            applied=None if is_remapped else row.applied,
            doubtful_contacts=about.doubtful if row.is_in_doubt else (),
        )
        has_ledger, formers = mentor_id in self.rows, about.formers(row, mapped)
        return Known(
            self.facts.get(mentor_id), seen, has_ledger, mapped, is_remapped, formers=formers
        )


@dataclass
class Dynamics:
    """What is shown, and the calls that may still take effect."""

    shown: dict[ContactId, Visibility] = field(default_factory=dict)
    late: list[tuple[float, ContactId, Visibility]] = field(default_factory=list)

    def advance(self, now_s: float) -> None:
        """Late effects whose time has come take effect, in their order."""
        for _, contact, value in sorted(one for one in self.late if one[0] <= now_s):
            self.shown[contact] = value
        self.late = [one for one in self.late if one[0] > now_s]


@dataclass
class Topic:
    """One partition: records for ever, and the committed offset."""

    records: list[tuple[MentorId, int | None]] = field(default_factory=list)
    committed: int = 0


@dataclass
class Held:
    """A mentor between screening and its record: what Job and Held are in the pipeline."""

    entry: Evaluation
    known: LedgerRow
    command: Command
    contact: ContactId
    generation: int = 0
    attempt: int = 0
    claimed_s: float = 0.0
    probe: str | None = None
    reevaluate_s: float | None = None
    conclusion: Conclusion | None = None
    is_called: bool = False


class Hand:
    """One worker. Each method is one access to what is shared; a crash is a new Hand."""

    _names = count()

    def __init__(self, database: Database, topic: Topic, dynamics: Dynamics) -> None:
        self.name = f"hand-{next(Hand._names)}"
        self.database, self.topic, self.dynamics = database, topic, dynamics
        self.queue = MentorQueue(CollapsePolicy(hot_gap_s=0.0))
        self.offsets = Offsets(1)
        self.read = topic.committed
        self.owns = True
        self.is_frozen = False
        self.jobs: dict[MentorId, Held] = {}
        self.ages: dict[MentorId, int] = {}
        self.claims: dict[MentorId, Held] = {}
        self.results: dict[MentorId, Held] = {}

    @property
    def now_s(self) -> float:
        """The one clock."""
        return self.database.now_s

    def fetch(self) -> None:
        """The next record."""
        if self.owns and self.read < len(self.topic.records):
            mentor_id, xid = self.topic.records[self.read]
            change = Change(mentor_id, Trigger.STATUS_CHANGE, Position(0, self.read, 1), 1, xid)
            if self.offsets.receive(self.read):
                if self.queue.is_covered(change, self.now_s):
                    self.offsets.finish(self.read)
                else:
                    self.queue.add(change, self.now_s)
            self.read += 1

    def commit(self) -> None:
        """What is finished."""
        committable = self.offsets.committable
        if self.owns and committable is not None:
            self.topic.committed = max(self.topic.committed, committable)

    def screen(self) -> None:
        """Look at one mentor that is due."""
        for entry in self.queue.take(1, self.now_s):
            known, snapshot = self.database.known(entry.mentor_id), self.database.snapshot
            row = known.ledger
            entry.snapshot = snapshot
            if any(
                change.transaction_id is not None and not snapshot.shows(change.transaction_id)
                for change in entry.changes
            ):
                self.queue.postpone(entry, self.now_s + 1, self.now_s)
            elif row.lease_owner not in {None, self.name} and (row.lease_until_s or 0) > self.now_s:
                self.queue.postpone(entry, row.lease_until_s or 0, self.now_s)
            else:
                self._decide(entry, known)

    def _decide(self, entry: Evaluation, known: Known) -> None:
        decision = due(known, known.ledger, self.now_s, RULES)
        match decision:
            case Command():
                self.jobs[entry.mentor_id] = Held(
                    entry, known.ledger, decision, _about(decision, known)
                )
                self.ages[entry.mentor_id] = entry.arrived
            case NoCall():
                look_s = next_look_s(known.facts, self.now_s, RULES)
                if entry.mentor_id in self.database.rows:
                    row = self.database.row(entry.mentor_id)
                    self.database.rows[entry.mentor_id] = row._replace(
                        state=LedgerState.IN_SYNC, reevaluate_at_s=look_s, attempt_count=0
                    )
                self._finish(entry)
            case _:
                raise AssertionError(decision)

    def claim(self, mentor_id: MentorId) -> None:
        """Intent and lease, then the facts once more."""
        held, row = self.jobs.pop(mentor_id), self.database.row(mentor_id)
        admission = breaker.admit(self.database.circuit, BREAKER, self.now_s)
        if isinstance(admission, Probe) and not self._is_next_probe(mentor_id):
            self.jobs[mentor_id] = held
            return
        if isinstance(admission, Probe):
            probed = breaker.take_probe(
                self.database.circuit,
                BREAKER,
                f"{self.name}-{row.generation}",
                self.now_s,
                mentor_id=mentor_id,
            )
            held.probe, self.database.circuit = (
                f"{self.name}-{row.generation}",
                probed or self.database.circuit,
            )
        elif not isinstance(admission, Go):
            self._again(held.entry, 1.0)
            return
        if row.generation != held.known.generation or (
            row.lease_owner not in {None, self.name} and (row.lease_until_s or 0) > self.now_s
        ):
            self._abandon(held)
            self._again(held.entry)
            return
        doubt_s = row.doubt_until_s
        if row.lease_owner is not None:
            doubt_s = max(doubt_s or 0.0, (row.lease_until_s or 0.0) + LATE_S)
        held.generation, held.claimed_s = row.generation + 1, self.now_s
        held.attempt = (
            row.attempt_count + 1 if row.state in {LedgerState.PENDING, LedgerState.IN_DOUBT} else 1
        )
        about = self.database.about[mentor_id]
        self.database.about[mentor_id] = about.claimed(row, held.contact, held.command.operation)
        self.database.rows[mentor_id] = row._replace(
            intended=held.command.operation.wanted,
            state=LedgerState.IN_DOUBT,
            generation=held.generation,
            lease_owner=self.name,
            lease_until_s=self.now_s + LEASE_S,
            attempt_count=held.attempt,
            doubt_until_s=doubt_s,
        )
        self.claims[mentor_id] = held

    def _is_next_probe(self, mentor_id: MentorId) -> bool:
        """Whose turn it is of those that wait here, and whether its time has come."""
        circuit = self.database.circuit
        waiting = sorted({*self.jobs, mentor_id}, key=lambda one: self.ages.get(one, 0))
        return mentor_id == breaker.choose(circuit, waiting) and self.now_s >= breaker.probe_at_s(
            circuit, BREAKER, mentor_id
        )

    def look(self, mentor_id: MentorId) -> None:
        """The look that counts, then the call may start, while enough of the lease is left."""
        held, snapshot = self.claims[mentor_id], self.database.snapshot
        held.entry.snapshot = snapshot
        held.entry.absorb(
            lambda change: change.transaction_id is None or snapshot.shows(change.transaction_id)
        )
        known = self.database.known(mentor_id)
        decision = due(known, held.known, self.now_s, RULES)
        is_farewell = held.command.former_contact_id is not None
        held.reevaluate_s = (
            self.now_s if is_farewell else next_look_s(known.facts, self.now_s, RULES)
        )
        if (
            not (
                isinstance(decision, Command)
                and decision.operation is held.command.operation
                and decision.former_contact_id == held.command.former_contact_id
                and _about(decision, known) == held.contact
            )
            or self.now_s + TIMEOUT_S >= held.claimed_s + LEASE_S
        ):
            held.conclusion = RELEASED
            self._abandon(held)
            self.results[mentor_id] = self.claims.pop(mentor_id)
        else:
            held.is_called = True

    def answer(
        self, mentor_id: MentorId, answer: Answer, *, applied: bool, late_in_s: float | None = None
    ) -> None:
        """The call takes effect or not, now or later; its answer comes or not."""
        held = self.claims.pop(mentor_id)
        value = held.command.operation.wanted
        if applied:
            self.dynamics.shown[held.contact] = value
        elif late_in_s is not None:
            self.dynamics.late.append((self.now_s + late_in_s, held.contact, value))
        verdict = judge(answer)
        held.conclusion = conclude(
            verdict, attempt_number=held.attempt, was_in_doubt=held.known.is_in_doubt,
            counts_attempt=breaker.counts_attempt(self.database.circuit, held.probe), is_leaver=False, spent_s=0, random=0.0, policy=RETRY,
        )  # fmt: skip
        circuit = self.database.circuit
        if verdict.is_breaker_failure:
            code = verdict.error_code or ""
            self.database.circuit = breaker.failed(
                circuit,
                BREAKER,
                held.probe,
                self.now_s,
                error_code=code,
                started_s=held.claimed_s,
                mentor_id=mentor_id,
            )
        elif verdict.is_breaker_success:
            self.database.circuit = breaker.succeeded(
                circuit, held.probe, self.now_s, started_s=held.claimed_s
            )
        else:
            self._abandon(held)
        if circuit.state is State.HALF_OPEN and held.probe != circuit.probe_owner:
            self.database.is_moved_by_a_stranger |= self.database.circuit.state != circuit.state
        self.results[mentor_id] = held

    def record(self, mentor_id: MentorId) -> None:
        """What came of it, if the claim is still ours."""
        held = self.results.pop(mentor_id)
        row, conclusion = self.database.row(mentor_id), held.conclusion
        assert conclusion is not None
        if row.generation != held.generation or row.lease_owner != self.name:
            if conclusion.ending is not Ending.RELEASED:
                about = self.database.about[mentor_id]
                self.database.about[mentor_id] = about.lost(row, held.contact)
                doubt_s = max(row.doubt_until_s or 0.0, self.now_s)
                intended = row.intended or row.applied or Visibility.HIDDEN
                self.database.rows[mentor_id] = row._replace(
                    intended=intended, doubt_until_s=doubt_s, reevaluate_at_s=self.now_s
                )
            self._again(held.entry)
            return
        is_past = row.doubt_until_s is None or row.doubt_until_s <= held.claimed_s
        about = self.database.about[mentor_id].recorded(
            conclusion.ending,
            held.contact,
            held.command.operation,
            before=held.known.doubtful_contacts,
            is_past=is_past,
            is_farewell=held.command.former_contact_id is not None,
        )
        self.database.about[mentor_id] = about
        recorded = _recorded(row, held, conclusion, self.now_s, is_past=is_past)
        if is_past and conclusion.ending is Ending.APPLIED and about.doubtful:
            recorded = recorded._replace(intended=row.intended, state=LedgerState.IN_DOUBT)
        self.database.rows[mentor_id] = recorded
        if conclusion.letter is not None:
            self.database.letters.append(f"{mentor_id}:{held.generation}")
        if conclusion.retry_in_s is not None:
            self._again(held.entry, conclusion.retry_in_s)
        else:
            self._finish(held.entry)

    def lose_partition(self) -> None:
        """Revoked: what waits is dropped, what is claimed ends by itself."""
        self.owns = False
        self.queue.forget(0)
        for held in self.jobs.values():
            held.entry.snapshot = None
            self.queue.finish(held.entry, self.now_s)
        self.jobs.clear()

    def _abandon(self, held: Held) -> None:
        if held.probe is not None:
            self.database.circuit = breaker.abandoned(self.database.circuit, held.probe, self.now_s)

    def _finish(self, entry: Evaluation) -> None:
        for change in self.queue.finish(entry, self.now_s):
            if self.owns:
                self.offsets.finish(change.position.offset)

    def _again(self, entry: Evaluation, in_s: float = 0.0) -> None:
        if self.owns:
            self.queue.postpone(entry, self.now_s + in_s, self.now_s)
        else:
            entry.snapshot = None
            self.queue.finish(entry, self.now_s)


def _about(command: Command, known: Known) -> ContactId:
    """Whom a call would be about."""
    contact = command.former_contact_id or known.contact_id
    assert contact is not None
    return contact


def _recorded(
    row: LedgerRow, held: Held, conclusion: Conclusion, now_s: float, *, is_past: bool
) -> LedgerRow:
    """The row after a record: what postgres/ledger does in SQL."""
    free = row._replace(lease_owner=None, lease_until_s=None, state=conclusion.state)
    attempts = row.attempt_count - (0 if conclusion.counts else 1)
    match conclusion.ending:
        case Ending.APPLIED if is_past:
            wanted = held.command.operation.wanted
            return free._replace(
                applied=wanted,
                intended=None,
                doubt_until_s=None,
                attempt_count=0,
                reevaluate_at_s=held.reevaluate_s,
            )
        case Ending.APPLIED:
            assert row.doubt_until_s is not None
            applied = held.command.operation.wanted
            return free._replace(
                applied=applied,
                state=LedgerState.IN_DOUBT,
                attempt_count=0,
                reevaluate_at_s=min(held.reevaluate_s or row.doubt_until_s, row.doubt_until_s),
            )
        case Ending.LATE:
            return free._replace(doubt_until_s=now_s + LATE_S, attempt_count=attempts)
        case Ending.UNKNOWN:
            return free._replace(attempt_count=attempts)
        case Ending.RELEASED:
            return free._replace(
                intended=held.known.intended,
                state=held.known.state or conclusion.state,
                attempt_count=attempts,
            )
        case _:
            return free._replace(intended=held.known.intended, attempt_count=attempts)
