"""The auditor of the lights is shown samples of every kind: it names who stood wrong uncounted, and
nobody else.
"""

from types import SimpleNamespace

import pytest

from tests.chaos.lights import Lights, Sample, unseen


def _every(seconds: range, wrong: dict[str, str], counted: dict[str, float] | None) -> list[Sample]:
    return [Sample(float(at_s), wrong, counted) for at_s in seconds]


def test_whoever_is_counted_in_time_is_seen() -> None:
    """The metric may take its delay, and then counts."""
    late = _every(range(0, 30, 2), {"ann": "hidden"}, {"hidden": 0})
    counted = _every(range(30, 90, 2), {"ann": "hidden"}, {"hidden": 1})
    assert unseen([*late, *counted]) == []


def test_whoever_stands_wrong_uncounted_is_named_once() -> None:
    """However long it lasts."""
    found = unseen(_every(range(0, 90, 2), {"ann": "hidden"}, {"hidden": 0, "visible": 7}))
    assert len(found) == 1 and "ann" in found[0]


def test_each_time_that_it_begins_is_told() -> None:
    """Seen in between."""
    dark = _every(range(0, 40, 2), {"ann": "visible"}, {"visible": 0})
    seen = _every(range(40, 50, 2), {"ann": "visible"}, {"visible": 1})
    again = _every(range(50, 60, 2), {"ann": "visible"}, {"visible": 0})
    assert len(unseen([*dark, *seen, *again])) == 2


def test_whoever_is_put_right_within_the_delay_need_not_be_counted() -> None:
    """Most are."""
    samples = [
        one
        for start in range(0, 120, 20)
        for one in (
            *_every(range(start, start + 16, 2), {"ann": "hidden"}, {}),
            Sample(start + 18.0, {}, {}),
        )
    ]
    assert unseen(samples) == []


def test_a_fleet_that_counts_nothing_for_longer_than_the_delay_is_dark() -> None:
    """A new leader has the delay too."""
    assert unseen(_every(range(0, 28, 2), {"ann": "hidden"}, None)) == []
    found = unseen(_every(range(0, 60, 2), {"ann": "hidden"}, None))
    assert len(found) == 1 and "no worker counts" in found[0]
    assert unseen(_every(range(0, 60, 2), {}, None)) == []


def test_what_nobody_could_see_is_not_held_against_anybody() -> None:
    """PostgreSQL or Dynamics was away: between the samples anything may have been."""
    before = _every(range(0, 20, 2), {"ann": "hidden"}, {"hidden": 0})
    after = _every(range(60, 80, 2), {"ann": "hidden"}, {"hidden": 0})
    assert unseen([*before, *after]) == []


def test_lights_that_nobody_watches_any_more_are_a_finding() -> None:
    """A worker that had not started yet ended the watching thread, and the run was called clean."""
    lights = Lights(SimpleNamespace(people=None))  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        lights._look_on(lambda: False)
    assert lights.findings == ["the lights were watched no more"]
    lights._look_on(lambda: True)
    assert lights.findings == []
