"""Decide is total; visibility agrees with 64-bit arithmetic; offsets never pass what is unfinished
and never fall.
"""

from math import inf, isinf

import pytest
from hlf_sync.core.decide import Rules, decide, next_look_s
from hlf_sync.core.model import Command, Facts, LedgerRow, NoCall, Operation, Refuse, Visibility
from hlf_sync.core.offsets import Offsets
from hlf_sync.core.visibility import Snapshot, VisibilityPolicy
from hypothesis import given
from hypothesis import strategies as st

RULES = Rules()
NOW_S = 1_000.0

facts = st.none() | st.builds(
    Facts,
    st.sampled_from([None, "", "HLF", "hlf", " HLF", "OTHER"]) | st.text(max_size=4),
    st.sampled_from([None, "active", "reinstated", "paused", "expired_cert", "Active"])
    | st.text(max_size=4),
    st.none() | st.just("c-1"),
    st.none() | st.sampled_from([NOW_S - 1, NOW_S, NOW_S + 1, inf, -inf]) | st.floats(),
    st.none() | st.text(max_size=4),
)
visibility = st.none() | st.sampled_from(Visibility)
ledgers = st.builds(LedgerRow, applied=visibility, intended=visibility)


@pytest.mark.requirement("R02")
@pytest.mark.requirement("R10")
@given(facts, ledgers)
def test_decide_is_total_and_never_calls_for_what_it_must_not(
    seen: Facts | None, ledger: LedgerRow
) -> None:
    """Any facts, any ledger row: a decision; only a valid certificate of ours restores; nothing
    unlisted of others is touched.
    """
    decision = decide(seen, ledger, NOW_S, RULES)
    is_ours = seen is not None and seen.organization == "HLF"
    assert isinstance(decision, Refuse) or seen is None or not seen.is_unreadable
    match decision:
        case Command() if decision.operation is Operation.RESTORE:
            assert is_ours and seen is not None
            assert seen.status in RULES.visible_statuses
            assert seen.certificate_expires_s is not None
            assert seen.certificate_expires_s > NOW_S
            assert ledger.applied is not Visibility.VISIBLE or ledger.is_in_doubt
        case Command():
            assert ledger.applied is not Visibility.HIDDEN or ledger.is_in_doubt
            assert is_ours or ledger.applied is Visibility.VISIBLE or ledger.is_in_doubt
        case Refuse():
            assert is_ours or (seen is not None and seen.is_unreadable)
        case NoCall():
            assert not ledger.is_in_doubt
            assert decision.is_out_of_scope != is_ours


@pytest.mark.requirement("R07")
@given(facts, ledgers)
def test_what_was_delivered_needs_no_second_call(seen: Facts | None, ledger: LedgerRow) -> None:
    """After a command has been applied, the same facts decide no call: a duplicate finds nothing to
    do.
    """
    decision = decide(seen, ledger, NOW_S, RULES)
    if isinstance(decision, Command):
        assert isinstance(
            decide(seen, LedgerRow(applied=decision.operation.wanted), NOW_S, RULES), NoCall
        )


@pytest.mark.requirement("R06")
@given(facts)
def test_the_next_look_lies_ahead_and_finds_the_mentor_to_be_removed(seen: Facts | None) -> None:
    """At the certificate's end, not before and not later."""
    due_s = next_look_s(seen, NOW_S, RULES)
    if due_s is not None and not isinf(due_s):
        shown = LedgerRow(applied=Visibility.VISIBLE)
        assert due_s > NOW_S
        assert decide(seen, shown, NOW_S, RULES) == NoCall("in_sync")
        assert decide(seen, shown, due_s, RULES) == Command(
            Operation.REMOVE, "no_valid_certificate"
        )


WRAP, HALF = 1 << 32, 1 << 31
# Around the borders where a 32-bit subtraction goes wrong, in several epochs, and anywhere.
border = st.builds(
    lambda epoch, half, near: epoch * WRAP + half + near,
    st.integers(1, 5),
    st.sampled_from([0, HALF]),
    st.integers(-40, 40),
)
xmaxes = border | st.integers(HALF, 1 << 60)
distances = (
    st.integers(-60, 60)
    | st.sampled_from([-HALF, -HALF + 1, HALF - 1])
    | st.integers(-HALF, HALF - 1)
)


@pytest.mark.requirement("R07")
@given(xmaxes, distances, st.sets(st.integers(1, 60)))
def test_visibility_agrees_with_a_64_bit_oracle(
    xmax: int, distance: int, running_behind: set[int]
) -> None:
    """The id that Debezium cut to 32 bits is judged as PostgreSQL would judge the whole one."""
    whole = xmax + distance
    running = frozenset(xmax - behind for behind in running_behind)
    snapshot = Snapshot(min(running, default=xmax), xmax, running)
    assert snapshot.widen(whole % WRAP) == whole
    assert snapshot.shows(whole % WRAP) == (whole < xmax and whole not in running)


@given(xmaxes, st.frozensets(st.integers(0, 1 << 62), max_size=5))
def test_a_snapshot_survives_its_text(xmax: int, running: frozenset[int]) -> None:
    """As PostgreSQL writes it."""
    text = f"{HALF}:{xmax}:{','.join(map(str, sorted(running)))}"
    assert Snapshot.parse(text) == Snapshot(HALF, xmax, running)


@given(st.integers(1, 10**9))
def test_a_look_never_waits_longer_than_the_longest(looks: int) -> None:
    """Nor less than the first, nor less than the one before."""
    policy = VisibilityPolicy()
    assert policy.first_s <= policy.wait_s(looks) <= policy.wait_s(looks + 1) <= policy.longest_s


steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["receive", "see", "again", "finish", "finish twice", "finish never received"]
        ),
        st.integers(0, 9),
    ),
    max_size=60,
)


@pytest.mark.requirement("R40")
@given(steps)
def test_offsets_never_pass_an_unfinished_position_and_never_fall(
    script: list[tuple[str, int]],
) -> None:
    """Receive with gaps, re-fetch, finish in any order, any number of times."""
    offsets, waiting, done, following = Offsets(1), list[int](), list[int](), 0
    committed = -1
    for step, number in script:
        if step in {"receive", "see"}:
            offset = following + number  # `number` is the gap
            following = offset + 1
            assert offsets.receive(offset) if step == "receive" else offsets.see(offset)
            (waiting if step == "receive" else done).append(offset)
        elif step == "again" and following:
            assert not offsets.receive(following - 1 - number % following)
        elif step == "finish" and waiting:
            done.append(waiting.pop(number % len(waiting)))
            offsets.finish(done[-1])
        elif step == "finish twice" and done:
            offsets.finish(done[number % len(done)])
        elif step == "finish never received":
            offsets.finish(following + number)
        now = offsets.committable
        assert now == (min(waiting) if waiting else following or None)
        assert now is None or now >= committed
        assert offsets.open_count >= len(waiting)
        committed = committed if now is None else now
    assert waiting or not offsets._finished
