"""Random histories over the real core: writes, invisible commits, lost and late answers, crashes at
any moment, frozen workers, moved partitions.

However a history goes, when it is left alone the CRM equals the decision on the last facts, or the
mentor has a letter. And each bug that is put into one function of the core makes some history end
wrong.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hlf_sync.core import breaker, outcome
from hlf_sync.core.answer import Response
from hlf_sync.core.decide import due, has_valid_certificate
from hlf_sync.core.evaluation import Evaluation
from hlf_sync.core.mentor_queue import MentorQueue
from hlf_sync.core.model import Facts, LedgerState, MentorId, Visibility
from hlf_sync.core.offsets import Offsets
from hlf_sync.core.verdict import Effect
from hlf_sync.core.visibility import Snapshot
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.fakes.contacts import Contacts
from tests.properties import core_world
from tests.properties.core_world import LATE_S, LEASE_S, NEVER, OK, Database, Dynamics, Hand, Topic

MENTORS = [MentorId("ann"), MentorId("bea")]
_MOSTLY = st.sampled_from([True, True, True, False])
_ENDS = ["ok", "ok", "ok", "lost, applied", "lost, late", "lost", "503", "500 applied", "404"]
_REST_TURNS, _REST_S = 100, 7.0
_SUCCESSES, _FEW_TURNS = 5, 30
DOWN = Response(503)


class Machine(RuleBasedStateMachine):
    """Two workers, two mentors, one partition."""

    def __init__(self) -> None:
        super().__init__()
        self.database, self.topic, self.dynamics = Database(), Topic(), Dynamics()
        self.hands: list[Hand] = []
        self.bad: set[MentorId] = set()

    @initialize()
    def everybody_is_shown(self) -> None:
        for mentor_id in MENTORS:
            self._write(mentor_id, "active", 10_000.0)
        self.hands = [self._hand(), self._hand()]
        self.hands[1].owns = False
        self._rest()

    # ---- the application

    @rule(
        mentor_id=st.sampled_from(MENTORS),
        lasts_s=st.sampled_from([10_000.0, 10_000.0, 3.0, 50.0]),
        is_visible=st.booleans(),
    )
    def turn(self, mentor_id: MentorId, lasts_s: float, is_visible: bool) -> None:
        """Paused becomes reinstated, everything else paused."""
        before = next(
            (facts for _, other, facts in reversed(self.database.unseen) if other == mentor_id),
            self.database.facts[mentor_id],
        )
        self._write(
            mentor_id,
            "reinstated" if before is not None and before.status == "paused" else "paused",
            lasts_s,
            is_visible=is_visible,
        )

    def _rewrite_mapping(self, mentor_id: MentorId) -> None:
        self.database.turns[mentor_id] = self.database.turns.get(mentor_id, 0) + 1
        self.topic.records.append((mentor_id, None))

    @rule(mentor_id=st.sampled_from(MENTORS), is_asked=st.booleans())
    def a_commit_appears_or_somebody_asks(self, mentor_id: MentorId, is_asked: bool) -> None:
        if is_asked:
            self.topic.records.append((mentor_id, None))
        else:
            self.database.appear()

    def _write(
        self, mentor_id: MentorId, status: str, lasts_s: float, *, is_visible: bool = True
    ) -> None:
        facts = Facts("HLF", status, "c", self.database.now_s + lasts_s)
        self.topic.records.append(
            (mentor_id, self.database.write(mentor_id, facts, is_visible=is_visible))
        )

    # ---- the workers

    @rule(is_owner=_MOSTLY, is_read=_MOSTLY, is_committed=st.booleans())
    def work(self, is_owner: bool, is_read: bool, is_committed: bool) -> None:
        """One turn: fetch what there is, bring everybody one step further, look at who is due."""
        which = self._which(is_owner)
        for _ in range(4 if is_read else 0):
            self._act(which, Hand.fetch)
        for mentor_id in MENTORS:
            self._go_on(which, mentor_id)
            self._act(which, Hand.screen)
        if is_committed:
            self._act(which, Hand.commit)

    @rule(is_owner=_MOSTLY, turns=st.integers(1, 3))
    def work_on(self, is_owner: bool, turns: int) -> None:
        """Some turns without reading anything new."""
        for _ in range(turns):
            self.work(is_owner, is_read=False, is_committed=False)

    def _go_on(self, which: int, mentor_id: MentorId) -> None:
        hand = self.hands[which]
        if hand.is_frozen:
            return
        if mentor_id in hand.results:
            hand.record(mentor_id)
        elif mentor_id in hand.claims and not hand.claims[mentor_id].is_called:
            hand.look(mentor_id)
        elif mentor_id in hand.jobs:
            hand.claim(mentor_id)

    # ---- Dynamics

    @rule(
        is_owner=_MOSTLY,
        how=st.sampled_from(_ENDS),
        late_in_s=st.floats(0, LATE_S - 1),
    )
    def answer(self, is_owner: bool, how: str, late_in_s: float) -> None:
        """To every call of a worker."""
        hand = self.hands[self._which(is_owner)]
        called = [m for m in hand.claims if _is_called(hand, m) and not hand.is_frozen]
        for mentor_id in called:
            self._answer(hand, mentor_id, how, late_in_s)

    def _answer(self, hand: Hand, mentor_id: MentorId, how: str, late_in_s: float = 0.0) -> None:
        if mentor_id in self.bad:
            how = "503"
        match how:
            case "ok":
                hand.answer(mentor_id, OK, applied=True)
            case "lost, applied":
                hand.answer(mentor_id, NEVER, applied=True)
            case "lost, late":
                hand.answer(mentor_id, NEVER, applied=False, late_in_s=late_in_s)
            case "lost":
                hand.answer(mentor_id, NEVER, applied=False)
            case "500 applied":
                hand.answer(mentor_id, Response(500), applied=True)
            case _:
                hand.answer(mentor_id, Response(int(how)), applied=False)

    @rule(
        mentor_id=st.sampled_from(MENTORS),
        how=st.sampled_from(_ENDS),
        late_in_s=st.floats(0, LATE_S - 1),
        is_mapping=st.sampled_from([False, False, True]),
    )
    def a_mistake_is_undone_in_the_call(
        self, mentor_id: MentorId, how: str, late_in_s: float, is_mapping: bool
    ) -> None:
        """What makes a wrong belief visible; single steps seldom come in this order. The mistake is
        the status, or the contact that is mapped.
        """
        self.turn(mentor_id, 10_000.0, is_visible=True)
        self.work(is_owner=True, is_read=True, is_committed=False)
        self.work_on(is_owner=True, turns=3)
        if is_mapping:
            self._rewrite_mapping(mentor_id)
        else:
            self.turn(mentor_id, 10_000.0, is_visible=True)
        self.answer(is_owner=True, how=how, late_in_s=late_in_s)

    @rule(mentor_id=st.sampled_from(MENTORS), how=st.sampled_from(_ENDS))
    def a_call_outlasts_an_outage(self, mentor_id: MentorId, how: str) -> None:
        """It began before three failures of the other mentor opened the circuit, and is answered
        beside the probe.
        """
        (other,) = set(MENTORS) - {mentor_id}
        hand = self.hands[self._which(True)]
        self.turn(mentor_id, 10_000.0, is_visible=True)
        self.work(is_owner=True, is_read=True, is_committed=False)
        self.work_on(is_owner=True, turns=3)
        for seconds in (1.0, 2.0, 12.5, 0.0):
            self.turn(other, 10_000.0, is_visible=True)
            self.work(is_owner=True, is_read=True, is_committed=False)
            self.work_on(is_owner=True, turns=3)
            if seconds and not hand.is_frozen and _is_called(hand, other):
                self._answer(hand, other, "503")
                self.work_on(is_owner=True, turns=1)
                self.time_passes(seconds)
        if not hand.is_frozen and _is_called(hand, mentor_id):
            self._answer(hand, mentor_id, how)

    @rule(mentor_id=st.sampled_from(MENTORS))
    def a_contact_fails_for_good(self, mentor_id: MentorId) -> None:
        """Dynamics answers 503 for this one, whatever happens; never for both."""
        if not self.bad:
            self.bad.add(mentor_id)

    # ---- mishaps

    @rule(
        what=st.sampled_from(["crash", "crash", "move", "freeze", "thaw"]),
        is_owner=_MOSTLY,
        late_in_s=st.floats(0, LATE_S - 1),
    )
    def mishap(self, what: str, is_owner: bool, late_in_s: float) -> None:
        """A worker dies or stands still, or the partition goes to the other one."""
        which = self._which(is_owner)
        match what:
            case "crash":
                self._crash(which, late_in_s)
            case "move":
                self._move()
            case "freeze":
                self.hands[which].is_frozen = True
                if is_owner and not self.hands[1 - which].is_frozen:
                    self._move()
            case _:
                self._thaw(which)

    def _crash(self, which: int, late_in_s: float) -> None:
        """Whatever it called may still take effect."""
        hand = self.hands[which]
        for held in hand.claims.values():
            if held.is_called:
                self.dynamics.late.append(
                    (self.database.now_s + late_in_s, held.contact, held.command.operation.wanted)
                )
        self.hands[which] = self._hand()
        self.hands[which].owns = hand.owns

    def _move(self) -> None:
        old, new = self.hands[self._which(True)], self.hands[self._which(False)]
        old.lose_partition()
        if new.claims or new.results:
            new.owns, new.offsets, new.read = True, Offsets(1), self.topic.committed
        else:
            self.hands[self.hands.index(new)] = self._hand()

    def _thaw(self, which: int) -> None:
        """What it had called before its lease's end has an answer that comes too late to count."""
        hand = self.hands[which]
        hand.is_frozen = False
        for mentor_id, held in list(hand.claims.items()):
            if held.is_called and self.database.now_s >= held.claimed_s + LEASE_S:
                hand.answer(mentor_id, NEVER, applied=False)

    @rule(seconds=st.sampled_from([0.5, 2.0, 11.0, 25.0]))
    def time_passes(self, seconds: float) -> None:
        """Not past what a worker that is awake would have ended by itself: a call is shorter than
        its lease.
        """
        awake = [
            held
            for hand in self.hands
            if not hand.is_frozen
            for held in hand.claims.values()
            if held.is_called
        ]
        latest_s = min((held.claimed_s + LEASE_S - 0.5 for held in awake), default=float("inf"))
        self._advance(min(self.database.now_s + seconds, max(latest_s, self.database.now_s)))

    # ---- what always holds

    @invariant()
    def no_mentor_is_called_by_two_who_hold_its_lease(self) -> None:
        for mentor_id in MENTORS:
            callers = [
                hand
                for hand in self.hands
                if mentor_id in hand.claims and hand.claims[mentor_id].is_called
            ]
            holders = [h for h in callers if self.database.row(mentor_id).lease_owner == h.name]
            assert len(holders) <= 1
            awake = [
                hand
                for hand in callers
                if not hand.is_frozen
                and hand.claims[mentor_id].generation == self.database.row(mentor_id).generation
            ]
            assert len(awake) <= 1

    @invariant()
    def at_most_one_probe_is_under_way(self) -> None:
        probes = [
            held
            for hand in self.hands
            for held in hand.claims.values()
            if held.probe == self.database.circuit.probe_owner is not None
        ]
        assert len(probes) <= 1

    @invariant()
    def only_its_probe_moves_a_half_open_circuit(self) -> None:
        assert not self.database.is_moved_by_a_stranger

    def teardown(self) -> None:
        """At the end of each history."""
        if self.hands:
            self.left_alone()

    @rule()
    def left_alone(self) -> None:
        """Everything comes right; also in the middle of a history, before the next event for a
        mentor hides what went wrong.
        """
        self._rest()
        for _ in range(_SUCCESSES if self.bad else 0):
            (healthy,) = set(MENTORS) - self.bad
            self.turn(healthy, 10_000.0, is_visible=True)
            self._rest(_FEW_TURNS)
            self._is_right(healthy)
        for mentor_id in MENTORS:
            self._is_right(mentor_id)
        assert self.topic.committed == len(self.topic.records)

    def _is_right(self, mentor_id: MentorId) -> None:
        """It is shown as it should be, or has a letter."""
        facts, row = self.database.facts[mentor_id], self.database.row(mentor_id)
        assert facts is not None
        is_wanted = facts.status in {"active", "reinstated"} and has_valid_certificate(
            facts, self.database.now_s
        )
        if row.state is LedgerState.DEAD_LETTERED:
            assert any(letter.startswith(mentor_id) for letter in self.database.letters)
            return
        shown = self.dynamics.shown.get(self.database.contact(mentor_id))
        assert (shown or Visibility.HIDDEN) is (
            Visibility.VISIBLE if is_wanted else Visibility.HIDDEN
        ), f"{mentor_id}: {facts}, {row}, shows {shown}"
        assert self.database.known(mentor_id).ledger.applied is shown
        assert not row.is_in_doubt
        left = {
            contact
            for contact, value in self.dynamics.shown.items()
            if contact.startswith(f"{mentor_id}-") and value is Visibility.VISIBLE
        }
        assert left <= {self.database.contact(mentor_id)}, f"{mentor_id}: {left} are shown"

    # ---- moving on

    def _which(self, is_owner: bool) -> int:
        return next(number for number, hand in enumerate(self.hands) if hand.owns is is_owner)

    def _hand(self) -> Hand:
        return Hand(self.database, self.topic, self.dynamics)

    def _act(self, which: int, act: Callable[[Hand], None]) -> None:
        if not self.hands[which].is_frozen:
            act(self.hands[which])

    def _advance(self, now_s: float) -> None:
        self.database.now_s = now_s
        self.dynamics.advance(now_s)
        for mentor_id, row in list(self.database.rows.items()):
            if row.reevaluate_at_s is not None and row.reevaluate_at_s <= now_s:
                is_soon = row.is_in_doubt and (row.doubt_until_s or 0.0) > now_s
                look_s = row.doubt_until_s if is_soon else None
                self.database.rows[mentor_id] = row._replace(reevaluate_at_s=look_s)
                self.topic.records.append((mentor_id, None))

    def _rest(self, turns: int = _REST_TURNS) -> None:
        """Everybody works, Dynamics serves but for a contact that fails for good, time passes."""
        for which in range(2):
            self._thaw(which)
        while self.database.unseen:
            self.database.appear()
        for _ in range(turns):
            for which, hand in enumerate(self.hands):
                for _ in range(4):
                    self._act(which, Hand.fetch)
                for (
                    _
                ) in MENTORS:  # all of them first: who is the probe is chosen of those that wait
                    self._act(which, Hand.screen)
                for mentor_id in MENTORS:
                    self._go_on(which, mentor_id)
                    if mentor_id in hand.claims and hand.claims[mentor_id].is_called:
                        is_good = mentor_id not in self.bad
                        hand.answer(mentor_id, OK if is_good else DOWN, applied=is_good)
                hand.commit()
            if self._is_at_rest():
                return
            self._advance(self.database.now_s + _REST_S)

    def _is_at_rest(self) -> bool:
        is_idle = all(
            not (hand.queue.size or hand.jobs or hand.claims or hand.results) for hand in self.hands
        )
        soon_s = self.database.now_s + 200
        is_due = any(
            row.reevaluate_at_s is not None and row.reevaluate_at_s < soon_s
            for row in self.database.rows.values()
        )
        is_read = self.topic.committed == len(self.topic.records)
        return is_idle and is_read and not is_due and not self.dynamics.late


def _is_called(hand: Hand, mentor_id: MentorId) -> bool:
    return mentor_id in hand.claims and hand.claims[mentor_id].is_called


@pytest.mark.requirement("R07")
@pytest.mark.requirement("R40")
def test_every_history_ends_right() -> None:
    """Many of them, each of some forty steps."""
    limits = settings(
        max_examples=150,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Machine, settings=limits)


@contextmanager
def _swapped(owner: object, name: str, by: object) -> Iterator[None]:
    old = owner.__dict__[name]
    setattr(owner, name, by)
    try:
        yield
    finally:
        setattr(owner, name, old)


def _greedy(self: MentorQueue, entry: Evaluation, now_s: float) -> object:
    entry.absorb(lambda _change: True)
    return _FINISH(self, entry, now_s)


_FINISH, _DUE, _ABSORB = MentorQueue.finish, due, Evaluation.absorb

_BUGS: dict[str, tuple[object, str, object]] = {
    "no visibility guard": (Snapshot, "shows", lambda _self, _xid: True),
    "commit before record": (Offsets, "committable", property(lambda self: self.next_offset)),
    "newer change swallowed": (MentorQueue, "finish", _greedy),
    "doubt ignored": (
        core_world,
        "due",
        lambda known, row, now_s, rules: _DUE(known, row._replace(intended=None), now_s, rules),
    ),
    "contact in doubt forgotten": (Contacts, "claimed", lambda self, _row, _contact, _what: self),
    "lost answer taken for over": (
        outcome,
        "_ENDINGS",
        {**outcome._ENDINGS, Effect.MAY_COME_LATE: outcome.Ending.UNKNOWN},
    ),
    "certificate's end forgotten": (core_world, "next_look_s", lambda *_: None),
    "a probe for everybody": (breaker, "_owns_probe", lambda _circuit, _owner: True),
    "the oldest is always the probe": (breaker, "choose", lambda _circuit, waiting: waiting[0]),
}


@pytest.mark.parametrize("bug", _BUGS)
def test_a_bug_in_one_function_of_the_core_is_found(bug: str) -> None:
    """Some history ends wrong, usually one of the first fifty."""
    limits = settings(
        max_examples=1_500, stateful_step_count=40, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck), print_blob=False,
    )  # fmt: skip
    with _swapped(*_BUGS[bug]), pytest.raises(AssertionError):
        run_state_machine_as_test(Machine, settings=limits)
