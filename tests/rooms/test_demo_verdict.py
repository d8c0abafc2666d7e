"""The demo's verdict: it says equal only when every mentor is, and its figures are those of the
journal.
"""

import pytest
from hlf_sync_sandbox.demo.application import Expectation
from hlf_sync_sandbox.demo.storms import Sample
from hlf_sync_sandbox.demo.verdict import compare, freshness_ms, percentile

_OURS = Expectation("m1", is_ours=True, contact_id="c1", is_shown=True)
_OTHER = Expectation("m2", is_ours=False, contact_id="c2", is_shown=False)


def test_equal_when_ours_are_as_expected_and_others_untouched() -> None:
    """What another organisation's contact shows does not matter."""
    assert compare([_OURS, _OTHER], {"c1": True, "c2": True}, [{"contact_id": "c1"}]).is_equal


@pytest.mark.parametrize("shown", [False, None])
def test_one_wrong_mentor_is_not_equal(shown: bool | None) -> None:
    """Hidden instead of shown, or never set."""
    found = compare([_OURS, _OTHER], {"c1": shown}, [])
    assert found.wrong == ("m1",)
    assert not found.is_equal


def test_a_mentor_without_a_contact_is_not_equal() -> None:
    """Nothing can show it."""
    assert not compare(
        [Expectation("m1", is_ours=True, contact_id=None, is_shown=False)], {}, []
    ).is_equal


def test_a_call_for_another_organisation_is_not_equal() -> None:
    """Whatever it wrote."""
    assert compare([_OURS, _OTHER], {"c1": True}, [{"contact_id": "c2"}]).touched == ("m2",)


def test_no_mentor_at_all_is_not_equal() -> None:
    """An empty table proves nothing."""
    assert not compare([], {}, []).is_equal


def test_freshness_is_from_the_commit_to_the_first_fitting_write() -> None:
    """Earlier writes, other values and failed calls do not count."""

    def call(applied_ms: int | None, *, value: bool) -> dict[str, object]:
        return {
            "contact_id": "c1",
            "applied_ms": applied_ms,
            "columns": {"new_showonwebsite": value},
        }

    journal = [
        call(900, value=True),
        call(1010, value=False),
        call(None, value=True),
        call(1040, value=True),
        call(1090, value=True),
    ]
    assert freshness_ms([Sample("c1", is_shown=True, committed_ms=1000.0)], journal) == [40.0]


def test_percentiles_are_nearest_rank() -> None:
    """Of 1 to 100 the median is 50 and the 99th 99."""
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([7.0], 0.99)) == (
        50.0,
        99.0,
        7.0,
    )
