"""How fast and how many calls at once: a token bucket and a concurrency limit below Dynamics'
protection limits, which turn themselves down.

One `Pacing` per worker, used by the pipeline around each call; monotonic `now_s` comes in, waits go
out. It does not sleep and knows no HTTP. Dynamics counts per application user: 6,000 requests and
1,200 s of execution per sliding 300 s, 52 at once. All workers share that, so each takes the
fraction of the pace that it owns of the partitions.

Why no 429 at 90 % of the allowed rate: in any 300 s the fleet sends at most 300 · rate + burst =
5,420 calls. A bucket starts with one token and not with a burst, and so it does after a pause;
otherwise each restart and each rebalance would add a burst of its own.

When a 429 comes all the same, the limits are other than believed (another application, a smaller environment, slower plug-ins):
- everybody pauses for Retry-After;
- rate (codes …22, …21 and unknown): a full window tells the limit, which is what was let through in it; so go on with 97 % of that, at most
  halving. Without a window's history, 85 % of the last rate;
- concurrency (codes …26, …21): 70 % of what was in flight;
- one cut per pause, of the rate one per quarter of a window; then up again with the square of the time, 2 % after one window, all of it after
  seven, so that a limit that stayed low is met once in some ten minutes.
"""

from collections import deque
from dataclasses import dataclass
from math import inf

CONCURRENCY_CODE = 0x80072326
EXECUTION_TIME_CODE = 0x80072321

_REGAIN_PER_WINDOW = 0.02
_CONCURRENCY_CUT = 0.7
_BLIND_CUT = 0.85
_MOST_CUT = 0.5
_LEAST_CUT = 0.95
_BELOW_LIMIT = 0.97
# of a window: refusals while a full window empties are answers to the past, not to the new rate
_SPACING_OF_CUTS = 0.25
_BUCKETS = 30  # of history per window
_REFRESHES = 100  # per window, while something is turned down
_ROUNDING_S = 1e-9
# an event loop that sleeps wakes about this late; rates above 100/s need a burst that covers it
_FINEST_TIMER_S = 0.01


@dataclass(frozen=True, slots=True)
class PacingPolicy:
    """The whole fleet's pace. `window_s` is Dynamics' sliding window, `pause_s` the pause after a
    429 that names none.
    """

    requests_per_s: float = 18.0
    burst: float = 20.0
    concurrency: int = 16
    window_s: float = 300.0
    pause_s: float = 5.0


class Dial:
    """A factor in (0, 1] that is cut at once and regained slowly."""

    __slots__ = ("_base", "_since_s", "_window_s")

    def __init__(self, window_s: float) -> None:
        self._base, self._since_s, self._window_s = 1.0, -inf, window_s

    def value(self, now_s: float) -> float:
        """The factor now."""
        if self._base >= 1.0:
            return 1.0
        windows = max(0.0, now_s - self._since_s) / self._window_s
        return min(1.0, self._base + _REGAIN_PER_WINDOW * windows * windows)

    def age_s(self, now_s: float) -> float:
        """Seconds since the last cut."""
        return now_s - self._since_s

    def cut(self, factor: float, now_s: float) -> None:
        """Go on with this factor."""
        self._base, self._since_s = factor, now_s


class Pacing:
    """One worker's part of the pace. `in_flight` counts the calls that `admit` let go and that have
    not finished.
    """

    def __init__(self, policy: PacingPolicy, fraction: float = 1.0) -> None:
        self._policy = policy
        self._fraction = fraction
        self._rate_dial = Dial(policy.window_s)
        self._slots_dial = Dial(policy.window_s)
        self._history: deque[int] = deque(maxlen=_BUCKETS)
        self._count = 0  # let through in the current bucket of history
        self._refresh_at_s = -inf
        self._paused_until_s = -inf
        # when the bucket would be full, in the form of GCRA: the theoretical arrival of the next
        # call
        self._next_s = -inf
        self._interval_s = inf
        self._tolerance_s = 0.0
        self._burst = 0.0
        self._slots = 0
        self._bucket_ends_s = -inf
        self.in_flight = 0

    def admit(self, now_s: float) -> float:
        """0: go (a token and a slot are taken, `finished` must follow). Else seconds to wait;
        infinity: until a call finishes or the share grows.
        """
        if now_s >= self._refresh_at_s:
            self._refresh(now_s)
        if now_s < self._paused_until_s:
            return self._paused_until_s - now_s
        if self.in_flight >= self._slots:
            return inf
        wait_s = self._next_s - self._tolerance_s - now_s
        if wait_s > _ROUNDING_S:
            return wait_s
        self._next_s = (max(now_s, self._next_s)) + self._interval_s
        self.in_flight += 1
        self._count += 1
        return 0.0

    def finished(self) -> None:
        """A call that was let go has ended, however."""
        self.in_flight -= 1

    def hand_back(self) -> None:
        """What was let go came to no call: its token and its slot are free again."""
        self.in_flight -= 1
        self._count -= 1
        if self._interval_s < inf:
            self._next_s -= self._interval_s

    def throttled(self, now_s: float, retry_after_s: float | None, code: int | None) -> None:
        """A call met a 429 (`finished` follows as well). Answers to calls that were in flight
        beside it cut nothing further.
        """
        self._count -= 1
        if now_s >= self._paused_until_s:
            self._cut(now_s, code)
        self.pause(now_s + max(retry_after_s or self._policy.pause_s, 1e-3), now_s)

    def pause(self, until_s: float, now_s: float) -> None:
        """No call before `until_s`, and then no burst; another worker's 429, or no token to ask
        with.
        """
        if until_s > self._paused_until_s:
            self._paused_until_s = until_s
            self._refresh(now_s)

    def pause_s(self, now_s: float) -> float:
        """How long no call may start after a 429 or without a token; 0 when they may."""
        return max(0.0, self._paused_until_s - now_s)

    def share(self, fraction: float, now_s: float) -> None:
        """From now on this worker has this fraction, in [0, 1], of the fleet's pace."""
        if fraction != self._fraction:
            self._fraction = fraction
            self._history.clear()  # counted at another share
            self._refresh(now_s)

    def pace(self, now_s: float) -> tuple[float, int]:
        """Calls per second and calls at once that this worker may make now."""
        self._refresh(now_s)
        return 1.0 / self._interval_s, self._slots

    def _cut(self, now_s: float, code: int | None) -> None:
        self._refresh(now_s)
        if code in {CONCURRENCY_CODE, EXECUTION_TIME_CODE}:
            allowed = max(1.0, self._policy.concurrency * self._fraction)
            reached = min(1.0, self.in_flight / allowed, self._slots_dial.value(now_s))
            self._slots_dial.cut(max(_CONCURRENCY_CUT * reached, 1.0 / allowed), now_s)
        if (
            code != CONCURRENCY_CODE
            and self._rate_dial.age_s(now_s) >= self._policy.window_s * _SPACING_OF_CUTS
        ):
            self._rate_dial.cut(self._rate_below_limit(now_s), now_s)

    def _rate_below_limit(self, now_s: float) -> float:
        factor = self._rate_dial.value(now_s)
        if len(self._history) < _BUCKETS:
            return factor * _BLIND_CUT
        let_through = sum(self._history) / self._policy.window_s
        measured = (
            _BELOW_LIMIT * let_through / max(self._policy.requests_per_s * self._fraction, 1e-9)
        )
        return max(factor * _MOST_CUT, min(factor * _LEAST_CUT, measured))

    def _refresh(self, now_s: float) -> None:
        """Close the bucket of history that has ended, and set rate, burst and slots anew, keeping
        the tokens that are there.
        """
        self._roll(now_s)
        policy, tokens = self._policy, self._tokens(now_s)
        most = policy.requests_per_s * self._fraction
        rate = most * self._rate_dial.value(now_s)
        slots = policy.concurrency * self._fraction * self._slots_dial.value(now_s)
        is_turned_down = rate < most or self._slots_dial.value(now_s) < 1.0
        self._refresh_at_s = (
            now_s + policy.window_s / _REFRESHES if is_turned_down else self._bucket_ends_s
        )
        self._burst = max(1.0, policy.burst * self._fraction, rate * _FINEST_TIMER_S)
        if rate <= 0.0:
            self._interval_s, self._tolerance_s, self._slots, self._next_s = inf, 0.0, 0, -inf
            return
        self._interval_s, self._tolerance_s, self._slots = (
            1.0 / rate,
            (self._burst - 1.0) / rate,
            max(1, int(slots)),
        )
        if now_s < self._paused_until_s:
            self._next_s = self._paused_until_s + self._tolerance_s  # one token when the pause ends
        else:
            self._next_s = now_s + (self._burst - min(tokens, self._burst)) / rate

    def _tokens(self, now_s: float) -> float:
        if self._next_s == -inf:
            return 1.0
        return self._burst - max(0.0, self._next_s - now_s) / self._interval_s

    def _roll(self, now_s: float) -> None:
        width_s = self._policy.window_s / _BUCKETS
        if self._bucket_ends_s == -inf:
            self._bucket_ends_s = now_s + width_s
        while now_s >= self._bucket_ends_s:
            if (
                now_s - self._bucket_ends_s > self._policy.window_s
            ):  # a long sleep: whole buckets of nothing
                self._history.extend([0] * _BUCKETS)
                self._bucket_ends_s = now_s
            self._history.append(self._count)
            self._count = 0
            self._bucket_ends_s += width_s
