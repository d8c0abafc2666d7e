"""`python -m tests.simulation`: many histories, or one again. `make simulate` calls it.

A seed is a history, in every process and on every machine.
"""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulation.bugs import BUGS
from tests.simulation.history import Ended, run


def main() -> int:
    """Exit code 1 when a history ended wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000, help="how many histories")
    parser.add_argument("--first", type=int, default=1, help="the first one's seed")
    parser.add_argument("--seed", type=int, help="this one only, again")
    parser.add_argument("--bug", choices=BUGS, help="with a bug put in on purpose")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    chosen = parser.parse_args()
    first, count = (chosen.first, chosen.seeds) if chosen.seed is None else (chosen.seed, 1)
    began_s, ended, wrong = time.monotonic(), 0, None
    with ProcessPoolExecutor(chosen.jobs if count > 1 else 1) as pool:
        for found in pool.map(
            partial(run, bug=chosen.bug), range(first, first + count), chunksize=5
        ):
            ended += 1
            if found.wrong is not None:
                wrong = found
                pool.shutdown(cancel_futures=True)
                break
            if ended % 500 == 0:
                _say(f"{ended} histories, {time.monotonic() - began_s:.0f} s")
    return _tell(wrong, ended, time.monotonic() - began_s, chosen.bug)


def _tell(wrong: Ended | None, ended: int, seconds: float, bug: str | None) -> int:
    if wrong is None:
        _say(f"{ended} histories in {seconds:.1f} s: every one ended right")
        return 0
    _say(f"seed {wrong.seed} ends wrong after {wrong.steps} steps: {wrong.wrong}")
    _say(f"found in {ended} histories, {seconds:.1f} s; again with:")
    _say(f"  python -m tests.simulation --seed {wrong.seed}{f' --bug {bug}' if bug else ''}")
    return 1


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
