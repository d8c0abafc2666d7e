"""1,000 mentors pending after an outage, at Dynamics' default limits and our default pace, in real
time: time and calls, beside the ideal.

The ideal is the rate limit's: N / (6,000 per 300 s). Time runs from the first delivery after the
outage (the probe) to the last; the wait for the probe is the breaker's cool-down and not the
drain's. Takes about a minute and a half. Usage: bench/drain.py [MENTORS]
"""

import json
import re
import sys
import time
from pathlib import Path

import httpx
from frame import bench, mentors_of, workers
from limits import calls_since, wait_until_hidden

MENTORS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
LIMIT_PER_S = 6000 / 300
PACE_PER_S, BURST = 18, 20


def main() -> None:
    """Measure and print."""
    with bench(has_limits=True) as found:
        dynamics = found.dynamics
        dynamics.latency(0.02)
        dynamics.outage()
        mentors = mentors_of(found, MENTORS)
        with workers(found.folder, 1, BREAKER_COOL_DOWN_S="2"):
            wait_until_pending(found.folder / "worker-0.log", MENTORS)
            since = dynamics.last_seq()
            dynamics.end_outage()
            wait_until_hidden(dynamics, len(mentors), 5 * MENTORS / LIMIT_PER_S)
        calls = calls_since(dynamics, since)
    done = [call["started_mono_ms"] / 1000 for call in calls if call["status"] == 204]  # noqa: PLR2004
    took_s, ideal_s = done[-1] - done[0], MENTORS / LIMIT_PER_S
    report = {
        "mentors": MENTORS,
        "seconds": round(took_s, 1),
        "ideal_seconds": ideal_s,
        "ratio_to_ideal": round(took_s / ideal_s, 3),
        "ratio_to_our_pace": round(took_s / ((MENTORS - BURST) / PACE_PER_S), 3),
        "calls": len(calls),
        "calls_per_mentor": round(len(calls) / MENTORS, 3),
        "throttled": sum(call["status"] == 429 for call in calls),  # noqa: PLR2004
    }
    print(json.dumps(report, indent=2))


def wait_until_pending(log: Path, count: int) -> None:
    """Until the worker holds them all and waits for Dynamics."""
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s:
        text = log.read_text(errors="replace")
        port = re.search(r'"event": ?"started".*?"port": ?(\d+)', text)
        if port is not None:
            queue = httpx.get(f"http://127.0.0.1:{port[1]}/status", trust_env=False).json()["queue"]
            if "circuit_open" in text and sum(queue.values()) >= count - 3:
                return
        time.sleep(0.2)
    raise SystemExit(
        "the worker does not hold all mentors:\n" + log.read_text(errors="replace")[-2000:]
    )


if __name__ == "__main__":
    main()
