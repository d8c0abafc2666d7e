"""Dynamics' protection limits at their real ratios, time-scaled, met by real workers: 6,000
requests per 300 s become 6,000 per 300/SCALE s.

Ten minutes' worth of steady work from one and from three workers: how near to what is allowed, and
how many 429. Then the limit is lowered under way: what the fleet comes to, and what it cost. At
SCALE 15 it takes five minutes and 270 calls/s; a machine too busy for them shows in the ratio.
Usage: bench/limits.py [SCALE] [steady|lowered]
"""

import json
import sys
import time
import uuid
from typing import Any

from frame import Bench, bench, mentors_of, workers
from hlf_sync_sandbox.dynamics.control import DynamicsControl

SCALE = float(sys.argv[1]) if len(sys.argv) > 1 and __name__ == "__main__" else 15.0
PARTS = sys.argv[2:] or ["steady", "lowered"]
WINDOW_S = 300 / SCALE
ALLOWED = 6000
LOWERED = 4000
PACE_PER_S, BURST, CONCURRENCY = 18 * SCALE, 20, 16
TEN_MINUTES_S = 600 / SCALE
LATENCY_S = 0.01

# A worker whose pacing knows the scaled window; all else is as it is.
SCALED_WORKER = f"""
from functools import partial
from hlf_sync.config import policies
policies.PacingPolicy = partial(policies.PacingPolicy, window_s={WINDOW_S!r})
from hlf_sync.__main__ import main
main()
"""


def calls_since(dynamics: DynamicsControl, since: int) -> list[dict[str, Any]]:
    """Every call's journal entry."""
    found: list[dict[str, Any]] = []
    while entries := dynamics.journal(since):
        since = entries[-1]["seq"]
        found += [
            entry for entry in entries if entry["kind"] == "api" and entry["status"] is not None
        ]
    return found


def wait_until_hidden(dynamics: DynamicsControl, count: int, deadline_s: float) -> None:
    """Until so many contacts are hidden."""
    end_s = time.monotonic() + deadline_s
    while sum(shown is False for shown in dynamics.contacts().values()) < count:
        if time.monotonic() > end_s:
            raise SystemExit(f"not delivered within {deadline_s:.0f} s")
        time.sleep(0.5)


def steady(found: Bench, count: int) -> dict[str, object]:
    """Ten minutes' worth of work, always something to do."""
    found.dynamics.delete_contacts()
    found.dynamics.set_limits(
        requests=ALLOWED, time_scale=SCALE, decimal_retry_after=True, forget=True
    )
    mentors = mentors_of(found, int(PACE_PER_S * TEN_MINUTES_S))
    since = found.dynamics.last_seq()
    with workers(found.folder, count, ["-c", SCALED_WORKER], **pace()):
        wait_until_hidden(found.dynamics, len(mentors), 4 * TEN_MINUTES_S)
    calls = calls_since(found.dynamics, since)
    done = [call["started_mono_ms"] / 1000 for call in calls if call["status"] == 204]  # noqa: PLR2004
    # Three workers do not start at the same moment, and until they have, some partitions wait: the
    # middle of the run counts.
    begin_s, end_s = done[0] + 0.15 * (done[-1] - done[0]), done[-1] - 0.15 * (done[-1] - done[0])
    rate = sum(begin_s <= at_s < end_s for at_s in done) / (end_s - begin_s)
    return {
        "workers": count,
        "calls": len(calls),
        "throttled": sum(call["status"] == 429 for call in calls),  # noqa: PLR2004
        "calls_per_s": round(rate, 1),
        "allowed_per_s": ALLOWED / WINDOW_S,
        "ratio_to_allowed": round(rate / (ALLOWED / WINDOW_S), 3),
        "most_in_a_window": most_in_a_window(done),
    }


def lowered(found: Bench) -> dict[str, object]:
    """The limit falls to two thirds after one window; eight more windows go by."""
    found.dynamics.delete_contacts()
    found.dynamics.set_limits(
        requests=ALLOWED, time_scale=SCALE, decimal_retry_after=True, forget=True
    )
    mentors_of(found, int(ALLOWED + 8 * LOWERED))
    since = found.dynamics.last_seq()
    with workers(found.folder, 1, ["-c", SCALED_WORKER], **pace()):
        wait_until_hidden(found.dynamics, int(PACE_PER_S * WINDOW_S), 10 * WINDOW_S)
        found.dynamics.set_limits(requests=LOWERED)
        lowered_s = time.monotonic()
        time.sleep(8 * WINDOW_S)
    calls = [
        call
        for call in calls_since(found.dynamics, since)
        if call["started_mono_ms"] / 1000 > lowered_s
    ]
    done = [call["started_mono_ms"] / 1000 for call in calls if call["status"] == 204]  # noqa: PLR2004
    recovered = [
        at_s for at_s in done if lowered_s + 3 * WINDOW_S <= at_s < lowered_s + 8 * WINDOW_S
    ]
    rate = len(recovered) / (5 * WINDOW_S)
    return {
        "limit_per_s": LOWERED / WINDOW_S,
        "calls_per_s_from_the_third_window_on": round(rate, 1),
        "ratio_to_new_limit": round(rate / (LOWERED / WINDOW_S), 3),
        "calls_lost_to_429": sum(call["status"] == 429 for call in calls),  # noqa: PLR2004
        "share_lost": round(sum(call["status"] == 429 for call in calls) / len(calls), 4),  # noqa: PLR2004
        "windows_with_a_429": len(
            {
                int((call["started_mono_ms"] / 1000 - lowered_s) / WINDOW_S)
                for call in calls
                if call["status"] == 429  # noqa: PLR2004
            }
        ),
    }


def pace() -> dict[str, str]:
    """The settings that scale with time."""
    return {
        "PACE_REQUESTS_PER_S": str(PACE_PER_S),
        "PACE_BURST": str(BURST),
        "PACE_CONCURRENCY": str(CONCURRENCY),
        "KAFKA_GROUP_ID": f"bench-{uuid.uuid4()}",
    }


def most_in_a_window(times: list[float]) -> int:
    """The most calls in any sliding window, which the limit is about."""
    first, most = 0, 0
    for last, at_s in enumerate(times):
        while times[first] <= at_s - WINDOW_S:
            first += 1
        most = max(most, last - first + 1)
    return most


def main() -> None:
    """Measure and print."""
    with bench(has_limits=True) as found:
        found.dynamics.latency(LATENCY_S)
        report: dict[str, object] = {"time_scale": SCALE, "window_s": WINDOW_S}
        if "steady" in PARTS:
            report["steady"] = [steady(found, count) for count in (1, 3)]
        if "lowered" in PARTS:
            report["limit_lowered"] = lowered(found)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
