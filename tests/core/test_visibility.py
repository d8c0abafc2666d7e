"""Read your own event: 32-bit transaction ids against 64-bit snapshots."""

import pytest
from hlf_sync.core.visibility import Snapshot, VisibilityPolicy

pytestmark = pytest.mark.requirement("R07")

EPOCH = 1 << 32


def test_a_snapshot_is_read_from_postgresqls_text() -> None:
    """`xmin:xmax:xip,xip`, the last part empty when nothing runs."""
    assert Snapshot.parse("10:20:12,15") == Snapshot(10, 20, frozenset({12, 15}))
    assert Snapshot.parse("20:20:") == Snapshot(20, 20)


@pytest.mark.parametrize("text", ["", "10:20", "10:20:1:2", "a:b:", "10:20:x"])
def test_anything_else_is_no_snapshot(text: str) -> None:
    """PostgreSQL never says so; silence would hide a change."""
    with pytest.raises(ValueError, match=r"."):
        Snapshot.parse(text)


@pytest.mark.parametrize(
    ("transaction_id", "is_shown"),
    [
        (9, True),
        (10, True),
        (12, False),
        (13, True),
        (15, False),
        (19, True),
        (20, False),
        (21, False),
    ],
)
def test_a_transaction_shows_when_it_is_below_xmax_and_not_running(
    transaction_id: int, is_shown: bool
) -> None:
    """At `xmax` and above it had not ended; in `running` it was still open."""
    assert Snapshot.parse("12:20:12,15").shows(transaction_id) is is_shown


def test_a_32_bit_id_is_widened_into_the_snapshots_epoch() -> None:
    """After three wraps the snapshot counts on, the id does not."""
    snapshot = Snapshot(3 * EPOCH + 100, 3 * EPOCH + 100)
    assert snapshot.widen(99) == 3 * EPOCH + 99
    assert snapshot.widen(100) == 3 * EPOCH + 100
    assert snapshot.shows(99) and not snapshot.shows(100)


def test_an_id_from_before_the_wrap_is_in_the_past() -> None:
    """4,294,967,290 beside an xmax just over the wrap is some ids ago, not four thousand million
    ahead.
    """
    snapshot = Snapshot(EPOCH + 5, EPOCH + 5)
    assert snapshot.widen(EPOCH - 6) == EPOCH - 6
    assert snapshot.shows(EPOCH - 6)


def test_an_id_from_after_the_wrap_is_in_the_future() -> None:
    """Id 4 beside an xmax just under the wrap has not ended in this snapshot."""
    snapshot = Snapshot(EPOCH - 10, EPOCH - 10)
    assert snapshot.widen(4) == EPOCH + 4
    assert not snapshot.shows(4)


def test_a_running_transaction_is_found_across_the_wrap() -> None:
    """`running` holds 64-bit ids."""
    snapshot = Snapshot.parse(f"{EPOCH - 2}:{EPOCH + 10}:{EPOCH - 2},{EPOCH + 3}")
    assert [snapshot.shows(xid) for xid in (EPOCH - 2, EPOCH - 1, 3, 4, 10)] == [
        False,
        True,
        False,
        True,
        False,
    ]


def test_half_the_ring_is_the_border_between_past_and_future() -> None:
    """2^31 away is the past by agreement, as in PostgreSQL's own comparison; one less ahead is the
    future.
    """
    snapshot = Snapshot(1 << 40, 1 << 40)
    assert snapshot.widen(1 << 31) == (1 << 40) - (1 << 31)
    assert snapshot.widen((1 << 31) - 1) == (1 << 40) + (1 << 31) - 1
    assert snapshot.shows(1 << 31) and not snapshot.shows((1 << 31) - 1)


def test_the_waits_double_from_five_milliseconds_to_a_quarter_second() -> None:
    """Short at first, since most are visible at the second look."""
    policy = VisibilityPolicy()
    assert [policy.wait_s(looks) for looks in (1, 2, 3, 6, 7, 8)] == [
        0.005,
        0.01,
        0.02,
        0.16,
        0.25,
        0.25,
    ]


def test_the_ten_thousandth_look_does_not_overflow() -> None:
    """A worker may wait for days."""
    assert VisibilityPolicy().wait_s(10_000) == 0.25
