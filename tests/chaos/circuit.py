"""The breaker's promise, checked from outside: while the circuit is open no call starts, and
half-open lets one probe through at a time.

Pure; the auditor's. Judges by the transitions that the database noted itself and by the emulator's
journal, without a line of consumer/hlf_sync/core. Workers hear of a transition a moment later, so
the first `slack_s` after an opening are nobody's fault; nor is anything while a worker could not
hear at all.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Both clocks are this machine's; what reads them is busy.
_MARGIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Move:
    """The circuit came to this state; epoch seconds."""

    at_s: float
    state: str


@dataclass(frozen=True, slots=True)
class Period:
    """From `start_s` to `end_s`, epoch seconds."""

    start_s: float
    end_s: float

    def meets(self, start_s: float, end_s: float) -> bool:
        """Whether any of it lies in that time."""
        return self.start_s < end_s and start_s < self.end_s


@dataclass(frozen=True, slots=True)
class Outage:
    """From an opening to the next opening or closing: nobody calls until `cooled_s`, then one at a
    time. Infinite where it has not come to that.
    """

    opened_s: float
    cooled_s: float
    ended_s: float


def outages(moves: Sequence[Move]) -> Iterator[Outage]:
    """In order; a row written without a change of state is not a transition."""
    opened_s: float | None = None
    cooled_s = float("inf")
    for before, move in zip([None, *moves], moves, strict=False):
        if before is not None and before.state == move.state:
            continue
        if opened_s is not None and move.state == "half_open":
            cooled_s = move.at_s
            continue
        if opened_s is not None:
            yield Outage(opened_s, cooled_s, move.at_s)
        opened_s, cooled_s = (move.at_s if move.state == "open" else None), float("inf")
    if opened_s is not None:
        yield Outage(opened_s, cooled_s, float("inf"))


def calls_not_allowed(
    moves: Sequence[Move],
    calls: Sequence[Mapping[str, Any]],
    deaf: Sequence[Period],
    slack_s: float,
) -> Iterator[str]:
    """One line for each call that the breaker should have stopped; `calls` in the order in which
    they came.
    """
    for outage in outages(moves):
        heard_s = outage.opened_s + slack_s
        last: Mapping[str, Any] | None = None
        for call in (
            one for one in calls if heard_s < one["started_ms"] / 1000 < outage.ended_s - _MARGIN_S
        ):
            start_s = call["started_ms"] / 1000
            is_deaf = any(period.meets(outage.opened_s - slack_s, start_s) for period in deaf)
            if start_s < outage.cooled_s - _MARGIN_S and not is_deaf:
                yield (
                    f"call {call['seq']} at {start_s:.3f}, the circuit open since"
                    f" {outage.opened_s:.3f}"
                )
            elif last is not None and _end_s(last) - _MARGIN_S > start_s and not is_deaf:
                yield f"calls {last['seq']} and {call['seq']} at {start_s:.3f}: two probes at once"
            last = call


def _end_s(call: Mapping[str, Any]) -> float:
    """A call without an end was under way when the emulator was killed: nobody knows when its
    client gave up.
    """
    ends = [call[name] for name in ("client_gone_ms", "ended_ms") if call[name] is not None]
    return float(min(ends, default=call["started_ms"])) / 1000
