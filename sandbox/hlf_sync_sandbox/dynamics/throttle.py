"""Dataverse's service protection limits: requests, execution time and concurrency per application
user and web server.

Called by `dataverse` with the monotonic time. Pure: a machine of counters. Documented: the three
limits, that concurrency is refused at once, the integer Retry-After that grows while the client
goes on sending. Unverified: how much it grows, that refused requests count towards the window (an
option), and the shape of the wait before it ends.
"""

from collections import deque
from dataclasses import dataclass, field
from math import ceil

from pydantic import BaseModel, ConfigDict, Field

from hlf_sync_sandbox.dynamics import codes
from hlf_sync_sandbox.dynamics.codes import Code

_SLOTS = 600
"""Parts of the window that are counted separately: memory stays flat and the error is below 0.2 % of the window."""


class Limits(BaseModel):
    """Configuration; None switches one limit off. With `time_scale` 100 the 300 s are 3 s and the
    1,200 s are 12.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests: int | None = Field(6000, ge=1)
    window_s: float = Field(300.0, gt=0)
    execution_s: float | None = Field(1200.0, gt=0)
    concurrency: int | None = Field(52, ge=1)
    time_scale: float = Field(1.0, gt=0)
    count_refused: bool = True
    growth: float = Field(0.25, ge=0)
    """Retry-After grows by this part for each request that is refused in a row."""
    retry_after_max_s: float = Field(600.0, gt=0)
    decimal_retry_after: bool = False
    """Send fractions of a second: not what the service does, but needed where 1 s is a third of the scaled window."""

    @property
    def scaled_window_s(self) -> float:
        """The window in real seconds."""
        return self.window_s / self.time_scale

    @property
    def scaled_execution_s(self) -> float:
        """The execution time allowed per window, in real seconds."""
        return (self.execution_s or 0.0) / self.time_scale


UNLIMITED = Limits(requests=None, execution_s=None, concurrency=None)


@dataclass(frozen=True, slots=True)
class Refused:
    """A request over a limit."""

    code: Code
    limit: int
    window_s: int
    retry_after: str


@dataclass(slots=True)
class _Slot:
    number: int
    requests: int = 0
    execution_s: float = 0.0


@dataclass(slots=True)
class Meter:
    """The counters of one application user on one server."""

    slots: deque[_Slot] = field(default_factory=deque)
    requests: int = 0
    execution_s: float = 0.0
    concurrent: int = 0
    refused_in_a_row: int = 0

    def turn(self, now_s: float, slot_s: float) -> _Slot:
        """Forget what has left the window and give the slot of now."""
        number = int(now_s / slot_s)
        slots = self.slots
        while slots and slots[0].number <= number - _SLOTS:
            old = slots.popleft()
            self.requests -= old.requests
            self.execution_s -= old.execution_s
        if not slots or slots[-1].number < number:
            slots.append(_Slot(number))
        return slots[-1]


class Throttle:
    """All meters under one set of limits."""

    def __init__(self, limits: Limits) -> None:
        """Start with empty windows."""
        self.limits = limits
        self._meters: dict[tuple[str, int], Meter] = {}
        self.refused: dict[str, int] = {}

    def set_limits(self, limits: Limits) -> None:
        """Change the limits under way. The windows start anew when their length changes, else they
        go on.
        """
        if limits.scaled_window_s != self.limits.scaled_window_s:
            for meter in self._meters.values():
                meter.slots.clear()
                meter.requests, meter.execution_s = 0, 0.0
        self.limits = limits

    def forget(self) -> None:
        """Empty all windows; what is in flight stays counted."""
        for meter in self._meters.values():
            meter.slots.clear()
            meter.requests, meter.execution_s, meter.refused_in_a_row = 0, 0.0, 0
        self.refused.clear()

    def admit(self, user: str, server: int, now_s: float) -> Refused | None:
        """Count a request in, or refuse it. Who is admitted must `release`."""
        meter = self._meter(user, server)
        slot = meter.turn(now_s, self._slot_s)
        code = self._exceeded(meter)
        if code is None:
            meter.concurrent += 1
            meter.refused_in_a_row = 0
            self._count(meter, slot)
            return None
        if self.limits.count_refused:
            self._count(meter, slot)
        meter.refused_in_a_row += 1
        self.refused[code.hex] = self.refused.get(code.hex, 0) + 1
        return self._refuse(meter, code, now_s)

    def release(self, user: str, server: int, now_s: float, execution_s: float) -> None:
        """Count an admitted request out, with the time that the server spent on it."""
        meter = self._meter(user, server)
        meter.concurrent -= 1
        meter.turn(now_s, self._slot_s).execution_s += execution_s
        meter.execution_s += execution_s

    def remaining(self, user: str, server: int) -> tuple[int, float]:
        """Give requests and seconds of execution left in the window: the two debugging headers."""
        meter = self._meter(user, server)
        requests = self.limits.requests
        left = 5999 if requests is None else max(0, requests - meter.requests)
        execution_s = self.limits.execution_s
        if execution_s is None:
            return left, 1200.0
        return left, max(0.0, execution_s - meter.execution_s * self.limits.time_scale)

    @property
    def _slot_s(self) -> float:
        return self.limits.scaled_window_s / _SLOTS

    def _meter(self, user: str, server: int) -> Meter:
        key = (user, server)
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = Meter()
        return meter

    @staticmethod
    def _count(meter: Meter, slot: _Slot) -> None:
        meter.requests += 1
        slot.requests += 1

    def _exceeded(self, meter: Meter) -> Code | None:
        limits = self.limits
        if limits.concurrency is not None and meter.concurrent >= limits.concurrency:
            return codes.CONCURRENCY
        if limits.requests is not None and meter.requests >= limits.requests:
            return codes.BURST
        if limits.execution_s is not None and meter.execution_s >= limits.scaled_execution_s:
            return codes.EXECUTION_TIME
        return None

    def _refuse(self, meter: Meter, code: Code, now_s: float) -> Refused:
        limits = self.limits
        wait_s = self._room_in_s(meter, code, now_s) * (
            1 + limits.growth * (meter.refused_in_a_row - 1)
        )
        wait_s = min(wait_s, limits.retry_after_max_s / limits.time_scale)
        text = (
            f"{max(wait_s, 0.001):.3f}" if limits.decimal_retry_after else str(max(1, ceil(wait_s)))
        )
        limit = {
            codes.CONCURRENCY.hex: limits.concurrency or 0,
            codes.BURST.hex: limits.requests or 0,
            codes.EXECUTION_TIME.hex: round((limits.execution_s or 0) * 1000),
        }[code.hex]
        return Refused(code, limit, round(limits.window_s), text)

    def _room_in_s(self, meter: Meter, code: Code, now_s: float) -> float:
        """Say when enough will have left the window, if nothing more comes."""
        if code is codes.CONCURRENCY:
            return 1.0 / self.limits.time_scale
        over = meter.requests - (self.limits.requests or 0) + 1
        over_s = meter.execution_s - self.limits.scaled_execution_s
        for slot in meter.slots:
            over -= slot.requests
            over_s -= slot.execution_s
            if (over <= 0) if code is codes.BURST else (over_s <= 0):
                return max(0.0, (slot.number + _SLOTS) * self._slot_s - now_s)
        return self.limits.scaled_window_s
