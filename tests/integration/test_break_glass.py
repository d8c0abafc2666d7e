"""Break-glass on the real stack: PostgreSQL, Kafka and the registry killed with -9, and what comes
after them.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import QUICK, Town, found_town, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

_DOWN = ("postgres", "kafka", "registry")


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[Town]:
    """A town of its own."""
    yield from found_town(stack, source_side, tmp_path)
    source_side.sql("DELETE FROM hlf_sync.halt")


def start(town: Town, *arguments: str, **settings: str) -> subprocess.Popen[str]:
    """`hlf-sync break-glass …` in an empty folder with these settings alone."""
    bare = {k: v for k, v in os.environ.items() if not k.startswith("HLF_SYNC_")}
    return subprocess.Popen(
        [sys.executable, "-m", "hlf_sync", "break-glass", *arguments],
        env=bare | {f"HLF_SYNC_{name}": value for name, value in settings.items()},
        cwd=town.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(town: Town, *arguments: str, **settings: str) -> Any:
    process = start(town, *arguments, "--json", **settings)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    return json.loads(out)


def handed_over(town: Town) -> dict[str, str]:
    """Client id, secret, CA: all that is typed in."""
    names = ("DYNAMICS_CLIENT_ID", "DYNAMICS_CLIENT_SECRET", "DYNAMICS_CA_FILE")
    return {name: town.stack.env[f"HLF_SYNC_{name}"] for name in names}


@pytest.mark.requirement("R64")
def test_with_all_the_rest_killed_mentors_are_hidden_and_shown_and_everything_agrees_afterwards(
    town: Town,
) -> None:
    """Also while the workers are halted, with `apply` killed on its way, and the application
    changing its mind before the settlement.
    """
    mentors = town.mentors(12)
    hidden, shown, changed = mentors[:5], mentors[5:], mentors[0]
    worker = town.worker(is_awaited=False)
    until(worker.is_ready, "the worker is ready", 90)
    town.settle(90)
    town.side.sql("INSERT INTO hlf_sync.halt VALUES ('dead_letter_limit', now(), 'a test')")
    town.set_status(hidden, "paused")
    roster = str(town.folder / "roster.json")
    settings = {name.removeprefix("HLF_SYNC_"): v for name, v in town.stack.env.items()}
    run(town, "export", roster, **settings)
    for part in _DOWN:
        town.stack.kill(part)
    assert town.shown(hidden) == dict.fromkeys(hidden, True), "the halt keeps them listed"
    since = town.dynamics.last_seq()
    only = [option for one in mentors for option in ("--only", one)]
    began_s = time.monotonic()
    first = start(
        town, "apply", roster, *only, "--yes", "--reason", "all is down", **handed_over(town)
    )
    until(lambda: town.calls(mentors, since), "the first call")
    first.kill()
    first.communicate()
    answer = run(town, "apply", roster, *only, "--yes", **handed_over(town))
    assert time.monotonic() - began_s < 120
    assert answer["trouble"] is None
    expected = dict.fromkeys(hidden, False) | dict.fromkeys(shown, True)
    assert town.shown(mentors) == expected
    for part in _DOWN:
        town.stack.restart(part)
    town.side.sql("DELETE FROM hlf_sync.halt")
    town.set_status([changed], "reinstated")
    told = run(town, "settle", f"{roster}.journal.jsonl", **settings, LATE_EFFECT_S="2")
    assert set(told["mentor_ids"]) == set(mentors)
    until(worker.is_ready, "the worker has recovered by itself", 60)
    until(lambda: town.shown(mentors) == expected | {changed: True}, "CRM = facts", 60)
    until(
        lambda: all(
            town.ledger(one) == ("hidden" if one in hidden[1:] else "visible", "in_sync")
            for one in mentors
        ),
        "ledger = CRM, and nobody is in doubt",
        float(QUICK["LATE_EFFECT_S"]) + 60,
    )
    with town.side.admin() as connection:
        why = connection.execute(
            "SELECT DISTINCT reason FROM hlf_sync.break_glass_call WHERE mentor_id = ANY"
            " (%s::uuid[])",
            (mentors,),
        ).fetchall()
    assert ("all is down",) in why
