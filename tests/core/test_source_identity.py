"""Is it the database we knew, and has it kept what it knew?"""

from dataclasses import replace

import pytest
from hlf_sync.core.source_identity import Anchor, Break, compare, decode

KEPT = Anchor("7713", 3, 1000, 41, "a")

pytestmark = pytest.mark.requirement("R67")


@pytest.mark.parametrize(
    ("seen", "cause"),
    [
        (KEPT, None),
        (replace(KEPT, lsn=2000), None),
        (replace(KEPT, beat=42, token="b", lsn=1001), None),  # a leader died before Kafka had it
        (replace(KEPT, system="7714", beat=99, lsn=9000), Break.OTHER_DATABASE),
        (replace(KEPT, beat=40, token="z", lsn=9000), Break.WENT_BACK),  # grown past the position
        (replace(KEPT, token="z"), Break.WENT_BACK),
        (replace(KEPT, lsn=999), Break.WENT_BACK),
        (replace(KEPT, beat=42, token="b", lsn=999), Break.WENT_BACK),
        (replace(KEPT, timeline=4), Break.OTHER_TIMELINE),
        (replace(KEPT, timeline=4, beat=40), Break.WENT_BACK),  # a standby that had not everything
    ],
)
def test_a_look_is_compared_with_the_one_that_was_kept(seen: Anchor, cause: Break | None) -> None:
    assert compare(KEPT, seen) is cause


def test_nothing_kept_is_the_beginning_or_a_loss() -> None:
    """The database knows whether it has been looked at."""
    assert compare(None, replace(KEPT, beat=0)) is None
    assert compare(None, KEPT) is Break.FORGOTTEN


def test_only_a_database_that_went_back_misleads_the_connector() -> None:
    misleading = {cause for cause in Break if cause.may_mislead_connector}
    assert misleading == {Break.OTHER_DATABASE, Break.WENT_BACK}


def test_an_anchor_comes_back_as_it_was_kept() -> None:
    assert decode(KEPT.encode()) == KEPT


@pytest.mark.parametrize("value", [None, b"", b"[]", b"{}", b"null", b"\xff", b'{"beat": "x"}'])
def test_what_is_no_anchor_counts_as_nothing_kept(value: bytes | None) -> None:
    assert decode(value) is None
