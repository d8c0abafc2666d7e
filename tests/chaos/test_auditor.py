"""The auditor is shown a small run in which all is well, and then the same with one thing wrong: it
has to name it. A weak auditor finds nothing.
"""

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.auditor import Evidence, LedgerRow, audit
from tests.chaos.circuit import Move, Period
from tests.chaos.history import Event, Want, timelines, wanted_at

_ANN, _BEA, _STRANGER = "ann", "bea", "stranger"
_LATER_S = 10_000.0


def _mentor(
    seq: int, at_s: float, mentor_id: str, status: str | None, organization: str = "HLF"
) -> Event:
    row = None if status is None else {"organization": organization, "status": status}
    return Event(
        seq, 1000 + seq, at_s, "mentor", mentor_id, mentor_id, row, was_ours=organization == "HLF"
    )


def _certificate(
    seq: int, at_s: float, mentor_id: str, expires_s: float = _LATER_S, status: str = "valid"
) -> Event:
    return Event(
        seq,
        1000 + seq,
        at_s,
        "certification",
        f"of {mentor_id}",
        mentor_id,
        {"status": status, "expires_s": expires_s},
    )


def _call(seq: int, at_s: float, mentor_id: str, value: bool, **changes: Any) -> dict[str, Any]:
    times = {
        "started_ms": at_s * 1000,
        "ended_ms": at_s * 1000 + 20,
        "applied_ms": at_s * 1000 + 10,
        "applied_mono_ms": at_s * 1000 + 10,
    }
    column = {"new_showonwebsite": value}
    return {
        "seq": seq,
        "method": "PATCH",
        "contact_id": mentor_id,
        "columns": column,
        "client_gone_ms": None,
        "overlap": 0,
        **times,
        **changes,
    }


_EVENTS = (
    _mentor(1, 100, _ANN, "active"),
    _certificate(2, 100, _ANN),
    _mentor(3, 100, _BEA, "active"),
    _certificate(4, 100, _BEA, expires_s=300),
    _mentor(5, 100, _STRANGER, "active", "OTHER"),
    _mentor(6, 200, _ANN, "paused"),
)
_GOOD = Evidence(
    events=_EVENTS,
    topic=frozenset((event.xid, event.mentor_id) for event in _EVENTS if event.was_ours),
    journal=(
        _call(1, 101, _ANN, True),
        _call(2, 101, _BEA, True),
        _call(3, 201, _ANN, False),
        _call(4, 301, _BEA, False),
    ),
    first_shown={_ANN: False, _BEA: False, _STRANGER: True},
    shown={_ANN: False, _BEA: False, _STRANGER: True},
    ledger={
        _ANN: LedgerRow("hidden", None, "in_sync", None),
        _BEA: LedgerRow("hidden", None, "in_sync", None),
    },
    letters=frozenset(),
    failures=frozenset(),
    now_s=1_000,
    reach_s=8,
)


def test_a_run_in_which_all_is_well_is_clean() -> None:
    """Also the removal that only the clock asked for."""
    findings = audit(_GOOD)
    assert not any(findings.violations.values())
    assert (findings.calls, findings.applied, findings.duplicates) == (4, 4, 0)


_WRONG = {
    "lost": replace(_GOOD, topic=_GOOD.topic - {(1006, _ANN)}),
    "lost ": replace(_GOOD, lag=1),
    "wrong_final": replace(_GOOD, shown={**_GOOD.shown, _ANN: True}),
    "wrong_final ": replace(
        _GOOD, ledger={**_GOOD.ledger, _ANN: LedgerRow("visible", None, "in_sync", None)}
    ),
    "wrong_final  ": replace(
        _GOOD, ledger={**_GOOD.ledger, _ANN: LedgerRow("hidden", "hidden", "in_doubt", None)}
    ),
    "wrong_final   ": replace(_GOOD, shown={**_GOOD.shown, _STRANGER: False}),
    "wrong_final    ": replace(
        _GOOD, ledger={**_GOOD.ledger, _ANN: LedgerRow("hidden", None, "in_sync", None, "worker-1")}
    ),
    "wrong_final     ": replace(
        _GOOD, ledger={**_GOOD.ledger, _ANN: LedgerRow("hidden", "hidden", "in_sync", None)}
    ),
    "phantom": replace(_GOOD, journal=(*_GOOD.journal, _call(5, 250, _ANN, True))),
    "phantom ": replace(_GOOD, journal=(*_GOOD.journal, _call(5, 150, _BEA, False))),
    "other_organization": replace(_GOOD, journal=(*_GOOD.journal, _call(5, 150, _STRANGER, False))),
    "personal": replace(_GOOD, leaks=("worker-1.log",)),
    "overlapping": replace(
        _GOOD, journal=(*_GOOD.journal, _call(5, 201.01, _ANN, False, overlap=1))
    ),
    "breaker": replace(
        _GOOD, circuit=(Move(295, "open"), Move(305, "half_open"), Move(306, "closed"))
    ),
    "breaker ": replace(
        _GOOD,
        circuit=(Move(250, "open"), Move(255, "half_open")),
        journal=(
            *_GOOD.journal,
            _call(5, 301.005, _ANN, False, ended_ms=301_500),
            _call(6, 301.2, _ANN, False),
        ),
    ),
    "unrest": replace(_GOOD, unrest=("3 mentors in doubt",)),
    "letters": replace(_GOOD, failures=frozenset({"ann:7"})),
    "letters ": replace(
        _GOOD, ledger={**_GOOD.ledger, _ANN: LedgerRow("hidden", None, "dead_lettered", "ann:7")}
    ),
}


@pytest.mark.parametrize("name", _WRONG)
def test_one_thing_wrong_is_named(name: str) -> None:
    """And nothing else is."""
    violations = audit(_WRONG[name]).violations
    assert [kind for kind, found in violations.items() if found] == [name.strip()]


def test_a_worker_that_stood_still_may_call_late_and_beside_another() -> None:
    """What no fence can close is not a finding."""
    freezes = (Period(202, 240),)
    journal = (
        *_GOOD.journal,
        _call(5, 240.5, _ANN, True),
        _call(6, 240.51, _ANN, False, overlap=1),
    )
    findings = audit(replace(_GOOD, journal=journal, freezes=freezes))
    assert findings.is_clean, findings.violations


@pytest.mark.parametrize(
    ("freeze", "is_clean"),
    [(Period(200.5, 206), True), (Period(200.5, 201.2), False), (Period(190, 199), False)],
)
def test_only_a_client_that_stood_still_is_there_after_its_time_out(
    freeze: Period, is_clean: bool
) -> None:
    """Another worker's freeze at the same time excuses nobody."""
    long, later = _call(3, 201, _ANN, False, ended_ms=206_000), 205 if is_clean else 202.5
    journal = (*_GOOD.journal[:2], long, _GOOD.journal[3], _call(5, later, _ANN, False, overlap=1))
    assert audit(replace(_GOOD, journal=journal, freezes=(freeze,))).is_clean is is_clean


def test_a_call_that_changes_nothing_is_counted_and_allowed() -> None:
    """At least once, not exactly once."""
    findings = audit(replace(_GOOD, journal=(*_GOOD.journal, _call(5, 202, _ANN, False))))
    assert (findings.is_clean, findings.duplicates) == (True, 1)


_OUTAGE = (Move(295, "open"), Move(300.5, "half_open"), Move(302, "closed"))
_LONG = {"ended_ms": 301_800}


@pytest.mark.parametrize(
    ("evidence", "is_clean"),
    [
        (replace(_GOOD, circuit=_OUTAGE), True),  # the one probe
        (
            replace(_GOOD, circuit=(Move(300.5, "open"), Move(303, "half_open"))),
            True,
        ),  # so soon after the opening that nobody had heard of it
        (
            replace(
                _GOOD, circuit=(Move(295, "open"), Move(305, "half_open")), deaf=(Period(294, 296),)
            ),
            True,
        ),
        (
            replace(
                _GOOD,
                circuit=_OUTAGE,
                journal=(
                    *_GOOD.journal[:3],
                    _call(4, 300.8, _BEA, False, **_LONG),
                    _call(5, 301, _ANN, False),
                ),
            ),
            False,
        ),
        (
            replace(
                _GOOD,
                circuit=_OUTAGE,
                journal=(
                    *_GOOD.journal[:3],
                    _call(4, 301, _BEA, False),
                    _call(5, 301.5, _ANN, False),
                ),
            ),
            True,
        ),
    ],
)
def test_half_open_lets_one_probe_through_at_a_time(evidence: Evidence, is_clean: bool) -> None:
    """One after the other is not a fault, nor is what a worker could not know yet."""
    assert audit(evidence).is_clean is is_clean


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        ([_mentor(1, 1, _ANN, "active")], Want.HIDDEN),
        ([_mentor(1, 1, _ANN, "reinstated")], Want.SILENT),
        ([_mentor(1, 1, _ANN, "active"), _certificate(2, 1, _ANN)], Want.VISIBLE),
        ([_mentor(1, 1, _ANN, "active"), _certificate(2, 1, _ANN, status="revoked")], Want.HIDDEN),
        ([_mentor(1, 1, _ANN, "active"), _certificate(2, 1, _ANN, expires_s=5)], Want.HIDDEN),
        ([_mentor(1, 1, _ANN, "vacationing")], Want.REFUSE),
        ([_mentor(1, 1, _ANN, "active", "OTHER")], Want.OUT),
        ([_mentor(1, 1, _ANN, "active"), _mentor(2, 2, _ANN, None)], Want.OUT),
    ],
)
def test_what_the_history_wanted(events: list[Event], wanted: Want) -> None:
    """HLF's rules, written a second time."""
    assert wanted_at(timelines(events)[_ANN], 100) is wanted
