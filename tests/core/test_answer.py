"""Error codes and Retry-After as they come on the wire."""

import pytest
from hlf_sync.core.answer import MAX_RETRY_AFTER_S, parse_code, parse_http_date, parse_retry_after

NOW_S = 1_764_000_000.0  # Mon, 24 Nov 2025 16:00:00 GMT


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("0x80072322", 0x80072322),
        ("0X8004F507", 0x8004F507),
        ("0x8004f507", 0x8004F507),
        ("-2147015902", 0x80072322),
        ("2147951394", 0x80072322),
        (" 0x80040217 ", 0x80040217),
        ("0x0", None),
        ("0", None),
        ("", None),
        ("0x", None),
        ("0x180072322", None),
        ("-2147483649", None),
        ("4294967296", None),
        ("80072322a", None),
        ("٣", None),
        ("1" * 5000, None),
        ("1_000", None),
    ],
)
def test_codes_are_compared_as_unsigned_integers(text: str, code: int | None) -> None:
    """Hexadecimal in any case and signed decimal are one number; what says nothing is None."""
    assert parse_code(text) == code


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("17", 17.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("17.", 17.0),
        ("+3", 3.0),
        ("1,200.00", 1200.0),
        ("-5", None),
        ("1000000000", MAX_RETRY_AFTER_S),
        ("1" * 60, MAX_RETRY_AFTER_S),
        ("9" * 5000, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("Mon, 24 Nov 2025 16:00:30 GMT", 30.0),
        ("Mon, 24 Nov 2025 15:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER_S),
        ("Mon, 99 Foo 2025 99:99:99 GMT", None),
    ],
)
@pytest.mark.requirement("R27")
def test_retry_after_is_seconds_or_a_date_within_bounds(text: str, seconds: float | None) -> None:
    """Integers, fractions, grouped digits and dates; absurd ones are bounded, senseless ones say
    nothing.
    """
    assert parse_retry_after(text, NOW_S) == seconds


def test_a_date_that_is_none_is_none() -> None:
    """Rubbish in a Date header never raises."""
    assert parse_http_date("") is None
    assert parse_http_date("Mon, 24 Nov 2025 16:00:00 GMT") == NOW_S
    assert parse_http_date("1 Jan 99999999999 00:00:00 GMT") is None
