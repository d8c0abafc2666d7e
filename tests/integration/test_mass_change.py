"""The mass change guard on the real stack: whatever makes everybody look gone, at most the allowed
removals are called; the rest waits for a word.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import Town, found_town, until

pytestmark = pytest.mark.stack

_ALLOWED = 3
_MENTORS = 12
# So small a part that the minimum decides, however many mentors other tests have left listed.
_SETTINGS: dict[str, Any] = {"MASS_REMOVAL_RATIO": "0.000001", "MASS_REMOVAL_MIN": str(_ALLOWED)}


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[Town]:
    """A town of its own; what others removed before counts no more."""
    source_side.sql("UPDATE hlf_sync.mentor_ledger SET removal_at = NULL")
    source_side.sql("DELETE FROM hlf_sync.held_removal")
    yield from found_town(stack, source_side, tmp_path)
    source_side.sql("DELETE FROM hlf_sync.held_removal")
    source_side.sql("DELETE FROM hlf_sync.halt")


def _pause_everybody(town: Town, mentors: list[str]) -> None:
    town.set_status(mentors, "paused")


def _truncate(town: Town, mentors: list[str]) -> None:
    assert mentors
    town.side.sql("TRUNCATE app.certification")


@pytest.mark.requirement("R11")
@pytest.mark.parametrize("strike", [_pause_everybody, _truncate])
def test_a_mass_change_stops_and_a_word_lets_exactly_the_held_ones_through(
    town: Town, strike: Callable[[Town, list[str]], None]
) -> None:
    """A job that pauses everybody, a TRUNCATE: the allowed few go, the others stay listed until
    `confirm-removals`.
    """
    mentors = town.mentors(_MENTORS)
    worker = town.worker(**_SETTINGS)
    town.settle()
    listed, since = _listed(town), town.dynamics.last_seq()
    strike(town, mentors)
    until(
        lambda: _held(town) >= set(mentors) - _hidden(town, mentors),
        "whoever was not removed waits",
    )
    assert worker.metric("hlf_sync_halted") == 1
    assert len(_delisted(town, since) & listed) <= _ALLOWED
    assert worker.get("/readyz").is_success, "removals stop, work goes on"
    confirmed = _confirm(town)
    assert set(confirmed["mentor_ids"]) >= set(mentors) - _hidden(town, mentors)
    until(lambda: _hidden(town, mentors) == set(mentors), "the confirmed ones go")
    town.settle()
    assert [
        letter for letter in town.letters() if letter.mentor_id in mentors
    ] == []  # everybody is swept, other tests' mentors too


@pytest.mark.requirement("R11")
@pytest.mark.parametrize(
    "condition", ["WHERE false", "WHERE organization_code <> 'HLF'"], ids=["no rows", "other rows"]
)
def test_a_broken_facts_view_takes_few_off_the_listing_and_mending_it_brings_them_back(
    town: Town, condition: str
) -> None:
    """Everybody looks gone. Once the view is mended, those who wait stay listed without anybody's
    word, and the few return.
    """
    mentors = town.mentors(_MENTORS)
    town.worker(**_SETTINGS)
    town.settle()
    listed, since = _listed(town), town.dynamics.last_seq()
    with _broken_view(town, condition):
        _ask(town, mentors)
        until(
            lambda: _held(town) >= set(mentors) - _hidden(town, mentors),
            "whoever was not removed waits",
        )
        assert len(_delisted(town, since) & listed) <= _ALLOWED
        assert len(_hidden(town, mentors)) <= _ALLOWED
    _confirm(town)
    _ask(town, mentors)
    until(lambda: _hidden(town, mentors) == set(), "everybody is listed")
    town.settle()
    assert len(_delisted(town, since) & listed) <= _ALLOWED


@contextmanager
def _broken_view(town: Town, condition: str) -> Iterator[None]:
    with town.side.admin() as connection:
        row = connection.execute(
            "SELECT pg_get_viewdef('hlf_sync.mentor_facts'::regclass)"
        ).fetchone()
        assert row is not None
        whole = str(row[0]).rstrip(";")
        broken = whole.replace("app.mentor m", f"(SELECT * FROM app.mentor {condition}) m")
        assert broken != whole
        connection.execute(f"CREATE OR REPLACE VIEW hlf_sync.mentor_facts AS {broken}".encode())
        try:
            yield
        finally:
            connection.execute(f"CREATE OR REPLACE VIEW hlf_sync.mentor_facts AS {whole}".encode())


def _ask(town: Town, mentors: list[str]) -> None:
    town.side.sql(
        "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by) SELECT id::uuid,"
        " 'reconciliation' FROM unnest(%s::text[]) id",
        mentors,
    )


def _hidden(town: Town, mentors: list[str]) -> set[str]:
    return {mentor_id for mentor_id, is_shown in town.shown(mentors).items() if not is_shown}


def _held(town: Town) -> set[str]:
    with town.side.admin() as connection:
        return {
            row[0]
            for row in connection.execute(
                "SELECT mentor_id::text FROM hlf_sync.held_removal WHERE confirmed_at IS NULL"
            )
        }


def _listed(town: Town) -> set[str]:
    """Whom the ledger knows as listed, and Dynamics lists. Other tests leave contacts that are shown
    and were never delivered: their first delivery is not counted (core/mass_removal).
    """
    shown = {contact_id for contact_id, is_shown in town.dynamics.contacts().items() if is_shown}
    with town.side.admin() as connection:
        known = connection.execute(
            "SELECT contact_id::text FROM hlf_sync.mentor_ledger WHERE applied = 'visible'"
        )
        return shown & {row[0] for row in known}


def _delisted(town: Town, since: int) -> set[str]:
    """Of anybody: the guard is the fleet's. Whom another test left hidden may be asserted once more,
    and a call may be repeated: neither takes anybody off the listing.
    """
    return {
        call["contact_id"]
        for call in town.dynamics.journal(since, kind="api")
        if False in (call["columns"] or {}).values()
    }


def _confirm(town: Town) -> dict[str, list[str]]:
    """What an operator does."""
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith("HLF_SYNC_")
    }
    command = [
        "confirm-removals",
        "--reason",
        "meant so",
        "--yes",
        "--json",
        "--env-file",
        str(town.stack.layout.env_file),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "hlf_sync", *command],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, list[str]] = json.loads(done.stdout)
    return answer
