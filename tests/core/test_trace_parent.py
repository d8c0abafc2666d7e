"""What is taken for a W3C traceparent, and what is not."""

import pytest
from hlf_sync.telemetry.trace_parent import parts_of, trace_id_of, trace_parent
from hypothesis import given
from hypothesis import strategies as st

WHOLE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_whole_one_gives_trace_span_and_whether_it_is_sampled() -> None:
    """The example of the recommendation."""
    assert parts_of(WHOLE) == (0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, True)
    assert parts_of(WHOLE[:-2] + "00") == (
        0x0AF7651916CD43DD8448EB211C80319C,
        0xB7AD6B7169203331,
        False,
    )
    assert trace_id_of(WHOLE) == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "nonsense",
        WHOLE.upper(),
        WHOLE + " ",
        WHOLE + "-more",
        "ff" + WHOLE[2:],
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
        "01" + WHOLE[2:] + "-" + "x" * 200,
    ],
)
def test_what_is_not_whole_is_none(text: str | None) -> None:
    """Anybody may write a header: ids of zeros, another case, the forbidden version, something
    long.
    """
    assert parts_of(text) is None
    assert trace_id_of(text) is None


def test_a_later_version_may_say_more() -> None:
    """The recommendation: read what is known of it."""
    assert parts_of("01" + WHOLE[2:] + "-more") == parts_of(WHOLE)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_is_written_is_read_again(trace_id: int, span_id: int, is_sampled: bool) -> None:
    """Leading zeros too."""
    assert parts_of(trace_parent(trace_id, span_id, is_sampled=is_sampled)) == (
        trace_id,
        span_id,
        is_sampled,
    )
