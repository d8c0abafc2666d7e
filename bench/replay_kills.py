"""Kill `replay apply` 50 times at random while it drains 500 letters on the real stack: every
letter must end resolved exactly once.

    python bench/replay_kills.py [--letters 500] [--kills 50] [--state DIR] [--seed N]

`--state` names a running sandbox, else one is brought up and removed. Ends with an error when a
letter was lost, asked for twice or called for twice.
"""

import argparse
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from frame import kept_or_own

from tests.fixtures.replay_town import drain_under_kills, found_replay_town, resolved_exactly_once
from tests.fixtures.source_side import SourceSide


def main() -> None:
    """Run once, print the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--letters", type=int, default=500)
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--state", type=Path)
    chosen = options.parse_args()
    with (
        kept_or_own(chosen.state) as stack,
        contextmanager(found_replay_town)(
            stack, SourceSide(stack.env), Path(tempfile.mkdtemp())
        ) as town,
    ):
        town.worker()
        mentors = town.town.mentors(chosen.letters)
        town.town.settle(120)
        town.exhaust(mentors)
        assert town.plan()["counts"]["due"] == chosen.letters, "each has a letter"  # noqa: S101 - a bench that measures the wrong thing must stop
        since, began_s = town.town.dynamics.last_seq(), time.monotonic()
        drain_under_kills(town, kills=chosen.kills, rate=40, longest_s=3.5, seed=chosen.seed)
        figures = resolved_exactly_once(town, mentors, since)
        print(
            f"{chosen.kills} kills, seed {chosen.seed}, {time.monotonic() - began_s:.0f} s:"
            f" {figures}; every letter was resolved exactly once"
        )


if __name__ == "__main__":
    main()
