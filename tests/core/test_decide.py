"""The decision table of the design, row by row, and the edges of each rule."""

import ast
from math import inf, nan
from pathlib import Path

import hlf_sync
import pytest
from hlf_sync.core.decide import (
    Rules,
    decide,
    due,
    has_valid_certificate,
    is_lookalike,
    left_behind,
    next_look_s,
)
from hlf_sync.core.model import (
    Command,
    ContactId,
    Decision,
    Facts,
    Former,
    Heir,
    Known,
    LedgerRow,
    NoCall,
    Operation,
    Refuse,
    Visibility,
)

RULES = Rules()
NOW_S = 1_700_000_000.0
VALID_S, EXPIRED_S = NOW_S + 1, NOW_S - 1

VISIBLE = LedgerRow(applied=Visibility.VISIBLE)
HIDDEN = LedgerRow(applied=Visibility.HIDDEN)
UNKNOWN = LedgerRow()
DOUBT_OF_HIDDEN = LedgerRow(applied=Visibility.HIDDEN, intended=Visibility.VISIBLE)
DOUBT_OF_VISIBLE = LedgerRow(applied=Visibility.VISIBLE, intended=Visibility.HIDDEN)
DOUBT_OF_UNKNOWN = LedgerRow(intended=Visibility.HIDDEN)
DOUBTS = (DOUBT_OF_HIDDEN, DOUBT_OF_VISIBLE, DOUBT_OF_UNKNOWN)


def ours(status: str | None, expires_s: float | None = VALID_S) -> Facts:
    """A mentor of HLF."""
    return Facts("HLF", status, None if expires_s is None else "c-1", expires_s)


def decided(facts: Facts | None, ledger: LedgerRow) -> Decision:
    """The decision under the default rules."""
    return decide(facts, ledger, NOW_S, RULES)


def remove(reason: str) -> Command:
    """The command that hides."""
    return Command(Operation.REMOVE, reason)


def restore(reason: str) -> Command:
    """The command that shows."""
    return Command(Operation.RESTORE, reason)


GONE_IDLE = NoCall("gone", is_out_of_scope=True)
OTHER_IDLE = NoCall("other_organization", is_out_of_scope=True)
IN_SYNC = NoCall("in_sync")
NO_CERTIFICATE = NoCall("no_valid_certificate", is_warning=True)
OTHER = Facts("OTHER", "active", "c-1", VALID_S)

ROWS: list[tuple[str, Facts | None, tuple[LedgerRow, ...], Decision]] = [
    ("gone, shown or in doubt: remove", None, (VISIBLE, *DOUBTS), remove("gone")),
    ("gone, not shown: no call", None, (HIDDEN, UNKNOWN), GONE_IDLE),
    (
        "left HLF, shown or in doubt: remove",
        OTHER,
        (VISIBLE, *DOUBTS),
        remove("other_organization"),
    ),
    ("other organisation, never shown: no call", OTHER, (HIDDEN, UNKNOWN), OTHER_IDLE),
    (
        "unknown status: refuse",
        ours("retired"),
        (VISIBLE, HIDDEN, UNKNOWN, *DOUBTS),
        Refuse("unknown_status"),
    ),
    (
        "no status: refuse",
        ours(None),
        (VISIBLE, HIDDEN, UNKNOWN, *DOUBTS),
        Refuse("unknown_status"),
    ),
    (
        "other spelling of a status: refuse",
        ours("Active"),
        (VISIBLE, HIDDEN, UNKNOWN, *DOUBTS),
        Refuse("unknown_status"),
    ),
    ("paused, hidden: no call", ours("paused"), (HIDDEN,), IN_SYNC),
    ("paused, else: remove", ours("paused"), (VISIBLE, UNKNOWN, *DOUBTS), remove("paused")),
    ("expired_cert, hidden: no call", ours("expired_cert"), (HIDDEN,), IN_SYNC),
    (
        "expired_cert, else: remove",
        ours("expired_cert"),
        (VISIBLE, UNKNOWN, *DOUBTS),
        remove("expired_cert"),
    ),
    ("active and valid, visible: no call", ours("active"), (VISIBLE,), IN_SYNC),
    (
        "active and valid, else: restore",
        ours("active"),
        (HIDDEN, UNKNOWN, *DOUBTS),
        restore("active"),
    ),
    ("reinstated and valid, visible: no call", ours("reinstated"), (VISIBLE,), IN_SYNC),
    (
        "reinstated and valid, else: restore",
        ours("reinstated"),
        (HIDDEN, UNKNOWN, *DOUBTS),
        restore("reinstated"),
    ),
    (
        "active, expired, shown or in doubt: remove",
        ours("active", EXPIRED_S),
        (VISIBLE, *DOUBTS),
        remove("no_valid_certificate"),
    ),
    ("active, expired, hidden: warning", ours("active", EXPIRED_S), (HIDDEN,), NO_CERTIFICATE),
    (
        "active, expired, unknown: remove",
        ours("active", EXPIRED_S),
        (UNKNOWN,),
        remove("no_valid_certificate"),
    ),
    (
        "active, no certificate, unknown: remove",
        ours("active", None),
        (UNKNOWN,),
        remove("no_valid_certificate"),
    ),
    (
        "reinstated, expired, shown or in doubt: remove",
        ours("reinstated", EXPIRED_S),
        (VISIBLE, *DOUBTS),
        remove("no_valid_certificate"),
    ),
    (
        "reinstated, expired, hidden: warning",
        ours("reinstated", EXPIRED_S),
        (HIDDEN,),
        NO_CERTIFICATE,
    ),
    (
        "reinstated, expired, unknown: warning",
        ours("reinstated", EXPIRED_S),
        (UNKNOWN,),
        NO_CERTIFICATE,
    ),
    (
        "reinstated, no certificate, unknown: warning",
        ours("reinstated", None),
        (UNKNOWN,),
        NO_CERTIFICATE,
    ),
]


@pytest.mark.requirement("R02")
@pytest.mark.requirement("R03")
@pytest.mark.requirement("R04")
@pytest.mark.requirement("R05")
@pytest.mark.requirement("R10")
@pytest.mark.parametrize(
    ("facts", "ledgers", "decision"), [pytest.param(*row[1:], id=row[0]) for row in ROWS]
)
def test_each_row_of_the_table_decides_as_written(
    facts: Facts | None, ledgers: tuple[LedgerRow, ...], decision: Decision
) -> None:
    """The table; each row over every ledger row it speaks of."""
    assert [decided(facts, ledger) for ledger in ledgers] == [decision] * len(ledgers)


@pytest.mark.requirement("R07")
def test_a_crash_between_call_and_record_is_delivered_again() -> None:
    """Remove was called, the crash came, the mentor was reinstated: 'visible' equals the stored
    'visible', and is delivered all the same.
    """
    assert decided(ours("reinstated"), DOUBT_OF_VISIBLE) == restore("reinstated")


@pytest.mark.requirement("R04")
def test_a_certificate_that_ends_now_is_not_valid() -> None:
    """Valid means later than now; the equal edge is expired."""
    assert not has_valid_certificate(ours("active", NOW_S), NOW_S)
    assert has_valid_certificate(ours("active", NOW_S + 1e-6), NOW_S)
    assert decided(ours("active", NOW_S), VISIBLE) == remove("no_valid_certificate")


@pytest.mark.requirement("R10")
@pytest.mark.parametrize("status", ["active", "reinstated"])
def test_a_certificate_that_has_no_end_is_refused_and_takes_nobody_off(status: str) -> None:
    """NULL, once the application allows it: outside the contract, and not lapsed. A hidden status
    hides all the same.
    """
    endless = Facts("HLF", status, "c-1", None)
    assert decided(endless, VISIBLE) == Refuse("certificate_without_end")
    assert decided(Facts("HLF", "paused", "c-1", None), VISIBLE) == remove("paused")


@pytest.mark.requirement("R04")
def test_the_certificates_status_column_alone_decides_nothing() -> None:
    """What counts is its end."""
    expired = Facts("HLF", "active", "c-1", EXPIRED_S, "valid")
    valid = Facts("HLF", "active", "c-1", VALID_S, "expired")
    assert decided(expired, VISIBLE) == remove("no_valid_certificate")
    assert decided(valid, HIDDEN) == restore("active")


@pytest.mark.requirement("R04")
@pytest.mark.parametrize("expires_s", [inf, 9_224_318_016_000.0])
def test_a_certificate_that_never_ends_is_valid(expires_s: float) -> None:
    """People write infinity, or PostgreSQL's last date, for 'never'; no look is planned for it."""
    assert decided(ours("active", expires_s), HIDDEN) == restore("active")
    assert next_look_s(ours("active", expires_s), NOW_S, Rules()) is None


@pytest.mark.requirement("R04")
def test_a_certificate_that_ended_before_time_began_has_lapsed() -> None:
    """PostgreSQL's -infinity."""
    assert decided(ours("active", -inf), VISIBLE) == remove("no_valid_certificate")


@pytest.mark.requirement("R03")
@pytest.mark.parametrize("status", ["paused", "expired_cert"])
@pytest.mark.parametrize("expires_s", [inf, -inf])
def test_the_status_alone_hides_whatever_the_certificates_end(
    status: str, expires_s: float
) -> None:
    """A paused mentor whose certificate never ends stays listed in no case."""
    assert decided(ours(status, expires_s), VISIBLE) == remove(status)


@pytest.mark.requirement("R10")
def test_facts_that_cannot_be_read_are_refused_and_never_a_removal() -> None:
    """The view fails for this mentor: nothing is known, not even that it is gone."""
    assert decided(Facts(None, None, is_unreadable=True), VISIBLE) == Refuse("facts_unreadable")


def test_infinity_of_another_organisation_is_none_of_our_business() -> None:
    """Organisation is judged before the facts' contract."""
    assert decided(Facts("OTHER", "retired", "c-1", inf), HIDDEN) == OTHER_IDLE


def test_a_certificate_end_that_is_no_number_is_not_valid() -> None:
    """Nobody is shown because of it."""
    assert not has_valid_certificate(ours("active", nan), NOW_S)


@pytest.mark.requirement("R02")
@pytest.mark.parametrize(
    "organization", [None, "", "   ", "hlf", "Hlf", " HLF", "HLF ", "HLF\t", "\nhlf\n"]
)
def test_an_organisation_that_looks_like_ours_is_a_warning_and_no_call(
    organization: str | None,
) -> None:
    """An exact match it is not."""
    facts = Facts(organization, "active", "c-1", VALID_S)
    assert is_lookalike(organization, "HLF")
    assert decided(facts, UNKNOWN) == NoCall(
        "other_organization", is_warning=True, is_out_of_scope=True
    )
    assert decided(facts, VISIBLE) == remove("other_organization")


@pytest.mark.requirement("R02")
@pytest.mark.parametrize("organization", ["OTHER", "HLF2", "H L F", "HL", "НLF"])
def test_another_organisation_is_silent(organization: str) -> None:
    """Counted, and no more; the last one begins with a Cyrillic letter."""
    assert not is_lookalike(organization, "HLF")
    assert decided(Facts(organization, "active"), UNKNOWN) == OTHER_IDLE


def test_the_rules_are_configuration() -> None:
    """Organisation and status sets come from outside."""
    rules = Rules(
        organization="XYZ",
        hidden_statuses=frozenset({"off"}),
        visible_statuses=frozenset({"on", "new"}),
        silent_statuses=frozenset({"new"}),
    )
    assert decide(Facts("XYZ", "off"), VISIBLE, NOW_S, rules) == remove("off")
    assert decide(Facts("XYZ", "on", "c-1", VALID_S), HIDDEN, NOW_S, rules) == restore("on")
    assert decide(Facts("XYZ", "new"), UNKNOWN, NOW_S, rules) == NO_CERTIFICATE
    assert decide(Facts("XYZ", "active"), VISIBLE, NOW_S, rules) == Refuse("unknown_status")
    assert decide(ours("active"), UNKNOWN, NOW_S, rules) == OTHER_IDLE


@pytest.mark.requirement("R06")
def test_time_alone_makes_a_shown_mentor_dirty_at_the_certificates_end() -> None:
    """The next look is the end of the certificate that shows the mentor."""
    assert next_look_s(ours("active"), NOW_S, RULES) == VALID_S
    assert next_look_s(ours("reinstated"), NOW_S, RULES) == VALID_S


@pytest.mark.requirement("R06")
@pytest.mark.parametrize(
    "facts",
    [
        None,
        OTHER,
        ours("paused"),
        ours("expired_cert"),
        ours("retired"),
        ours(None),
        ours("active", EXPIRED_S),
        ours("active", NOW_S),
        ours("active", None),
    ],
)
def test_time_alone_changes_nothing_for_the_others(facts: Facts | None) -> None:
    """Gone, of another organisation, hidden, refused, or expired already."""
    assert next_look_s(facts, NOW_S, RULES) is None


def test_a_former_contact_that_is_still_shown_comes_first() -> None:
    """Whatever the facts ask for the new one; and only while no other mentor of ours has it."""
    known = Known(
        ours("active"),
        UNKNOWN,
        has_ledger=True,
        contact_id=ContactId("new"),
        is_remapped=True,
        formers=(Former(ContactId("old")),),
    )
    hides = Command(Operation.REMOVE, "contact_replaced", ContactId("old"))
    for facts in (ours("active"), None, Facts("XYZ", "on"), ours("no such status")):
        assert due(known._replace(facts=facts), UNKNOWN, NOW_S, RULES) == hides
    speaks_not = [
        Heir(None, UNKNOWN),
        Heir(Facts("XYZ", "on"), UNKNOWN),
        Heir(ours("no such status"), UNKNOWN),
        Heir(ours("reinstated", EXPIRED_S), UNKNOWN),
    ]
    speaks = [
        Heir(ours("paused"), UNKNOWN),
        Heir(ours("active"), UNKNOWN),
        Heir(None, VISIBLE),
        Heir(ours("paused"), HIDDEN),
        Heir(None, LedgerRow(intended=Visibility.HIDDEN)),
    ]
    assert all(due(_left_to(known, heir), UNKNOWN, NOW_S, RULES) == hides for heir in speaks_not)
    assert not any(due(_left_to(known, heir), UNKNOWN, NOW_S, RULES) == hides for heir in speaks)


def _left_to(known: Known, heir: Heir) -> Known:
    return known._replace(formers=(Former(ContactId("old"), heir),))


DOUBTFUL = Former(ContactId("old"), is_left_visible=False)


@pytest.mark.requirement("R67")
@pytest.mark.parametrize(
    ("former", "doubt_until_s", "hides"),
    [
        (DOUBTFUL, None, True),
        (DOUBTFUL, NOW_S + 60, True),  # at once, although the lost call may come after this one
        (DOUBTFUL._replace(is_hidden=True), NOW_S + 60, False),  # the mapped contact's turn
        (DOUBTFUL._replace(is_hidden=True), NOW_S, True),  # and once more, when it cannot any more
        (DOUBTFUL._replace(heir=Heir(ours("paused"), UNKNOWN)), None, False),
    ],
)
def test_a_former_contact_that_a_lost_call_was_about_is_hidden_at_once_and_once_more(
    former: Former, doubt_until_s: float | None, hides: bool
) -> None:
    """Of several, those that another mentor decides about keep nobody waiting."""
    row = LedgerRow(intended=Visibility.VISIBLE, doubt_until_s=doubt_until_s)
    spoken_for = Former(ContactId("other"), Heir(ours("active"), UNKNOWN))
    known = Known(
        ours("active"),
        row,
        has_ledger=True,
        contact_id=ContactId("new"),
        formers=(spoken_for, former),
    )
    restores = Command(Operation.RESTORE, "active")
    hidden = Command(Operation.REMOVE, "contact_replaced", ContactId("old"))
    assert due(known, row, NOW_S, RULES) == (hidden if hides else restores)
    is_left = former.heir is None
    assert left_behind(known, NOW_S, RULES) == ([ContactId("old")] if is_left else [])


def test_nobody_decides_beside_the_one_function() -> None:
    """`decide` looks at the mapped contact only, so outside core/decide everybody calls `due`."""
    package = Path(hlf_sync.__file__).parent
    importers = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and node.module == "hlf_sync.core.decide"
        and any(alias.name == "decide" for alias in node.names)
    ]
    assert importers == []
