"""A W3C traceparent, as records may carry it and the ledger keeps it: taken only when it is whole.
https://www.w3.org/TR/trace-context/

Pure, and without OpenTelemetry, so that `why` can name a trace where the extra is not installed.
"""

import re

_SHAPE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MOST = 128
_INVALID_VERSION = "ff"
_SAMPLED = 0x01


def parts_of(text: str | None) -> tuple[int, int, bool] | None:
    """Trace id, span id and whether it is sampled; None for what is not a traceparent."""
    found = _SHAPE.fullmatch(text) if text is not None and len(text) <= _MOST else None
    if (
        text is None
        or found is None
        or text.startswith(_INVALID_VERSION)
        or (text.startswith("00") and found[4])
    ):
        return None
    trace_id, span_id = int(found[1], 16), int(found[2], 16)
    return (trace_id, span_id, bool(int(found[3], 16) & _SAMPLED)) if trace_id and span_id else None


def trace_id_of(text: str | None) -> str | None:
    """The trace's id as tracing tools show it."""
    parts = parts_of(text)
    return f"{parts[0]:032x}" if parts else None


def trace_parent(trace_id: int, span_id: int, *, is_sampled: bool) -> str:
    """The text of it, version 00."""
    return f"00-{trace_id:032x}-{span_id:016x}-{int(is_sampled):02x}"
