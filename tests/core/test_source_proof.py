"""When a task that says it runs is taken for dead."""

import pytest
from hlf_sync.core.source_proof import SourceProof

pytestmark = pytest.mark.requirement("R67")


def looks(proof: SourceProof, until_s: int, *, confirmed: int, is_read: bool) -> list[int]:
    """A look every 10 s; when each restart was due."""
    return [
        now_s
        for now_s in range(0, until_s, 10)
        if proof.is_dead(now_s, confirmed=confirmed, end=1_000 + now_s, is_read=is_read)
    ]


def test_a_slot_that_nobody_reads_past_what_we_wrote_means_a_dead_task() -> None:
    """Restarted after a minute and a half, then with twice the time each."""
    assert looks(SourceProof(), 700, confirmed=999, is_read=False) == [90, 270, 630]


def test_a_slot_that_is_read_may_be_busy_with_one_transaction_for_ten_minutes() -> None:
    """It is no reason to begin it anew."""
    assert looks(SourceProof(), 1_000, confirmed=999, is_read=True) == [600]


def test_a_slot_that_follows_is_never_restarted() -> None:
    """However slowly, and a restart that helped begins anew."""
    proof = SourceProof()
    assert looks(proof, 100, confirmed=999, is_read=False) == [90]
    assert not proof.is_dead(100, confirmed=1_000, end=2_000, is_read=True)
    assert proof.restarts == 0
    assert all(
        not proof.is_dead(float(now_s), confirmed=now_s * 10, end=now_s * 10 + 5, is_read=True)
        for now_s in range(200, 2_000, 10)
    )
