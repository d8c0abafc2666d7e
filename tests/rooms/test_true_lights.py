"""The auditor of the alerts' lights is shown samples of every kind: it tells too few and too many,
and forgives the documented delay.
"""

from collections.abc import Iterator, Mapping

from tests.alerts.true_lights import Sample, untrue

ANN, BEN = ("ann", "hidden"), ("ben", "hidden")


def _every(
    seconds: range,
    wrong: set[tuple[str, str]],
    counted: Mapping[str, float] | None,
    doubted: frozenset[tuple[str, str]] = frozenset(),
) -> Iterator[Sample]:
    shown = [] if counted is None else [counted]
    for at_s in seconds:
        yield Sample(float(at_s), frozenset(wrong), frozenset(wrong | doubted), shown)


def test_what_is_counted_within_the_delay_and_forgotten_within_it_is_true() -> None:
    """Twelve seconds late each time, of thirteen."""
    samples = [
        *_every(range(20), set(), {"hidden": 0}),
        *_every(range(20, 32), {ANN}, {"hidden": 0}),
        *_every(range(32, 60), {ANN}, {"hidden": 1}),
        *_every(range(60, 72), set(), {"hidden": 1}),
        *_every(range(72, 99), set(), {"hidden": 0}),
    ]
    assert untrue(samples) == []


def test_too_few_and_too_many_are_untrue() -> None:
    """One of two; and one who is right again for long."""
    few = [*_every(range(40), {ANN, BEN}, {"hidden": 1})]
    assert untrue(few)[0].endswith("2 to 2 should be hidden, and the metric counts 1")
    many = [*_every(range(5), {ANN}, {"hidden": 1}), *_every(range(5, 40), set(), {"hidden": 1})]
    assert untrue(many)[0].endswith("0 to 0 should be hidden, and the metric counts 1")
    other = [*_every(range(40), {ANN}, {"visible": 1})]
    assert len(untrue(other)) >= 2


def test_one_of_two_workers_that_counts_wrong_is_untrue() -> None:
    """A leader of before that goes on showing its figures."""
    both = [
        Sample(float(s), frozenset([ANN]), frozenset([ANN]), [{"hidden": 1}, {}]) for s in range(40)
    ]
    assert untrue(both)


def test_who_is_in_doubt_may_be_counted_and_need_not() -> None:
    """An answer that never came: Dynamics is right, and nobody knows."""
    for count in (0, 1):
        assert untrue([*_every(range(40), set(), {"hidden": count}, frozenset([ANN]))]) == []


def test_the_dark_is_told_once_it_is_longer_than_a_new_leader_takes() -> None:
    """With somebody wrong; with nobody there is nothing to count."""
    assert untrue([*_every(range(43), {ANN}, None)]) == []
    assert "no worker counts" in untrue([*_every(range(60), {ANN}, None)])[0]
    assert untrue([*_every(range(60), set(), None)]) == []


def test_what_nobody_could_see_is_held_against_nobody() -> None:
    """PostgreSQL was away between the samples."""
    samples = [
        *_every(range(10), {ANN}, {"hidden": 0}),
        *_every(range(60, 70), {ANN}, {"hidden": 0}),
    ]
    assert untrue(samples) == []
