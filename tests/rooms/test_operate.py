"""The commands that steer a fleet, as a person calls them: what ends their waiting, what they say,
and their exit codes.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import typer
from hlf_sync.__main__ import main
from hlf_sync.commands import replay, waiting
from hlf_sync.commands.app import app
from hlf_sync.core.fleet_verdict import halt_words
from hlf_sync.core.halts import HALTS
from hlf_sync.core.model import HaltReason, LetterKind
from hlf_sync.errors import SettingsError
from hlf_sync.replay.judgement import Judgement, Letter, ReplayVerdict
from hlf_sync.replay.plan_file import Plan, PlannedLetter

from tests.fixtures.cluster import Cluster

pytestmark = pytest.mark.postgres

PAUSED = "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', 'paused')"
LISTED = (
    "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, generation) VALUES (%s,"
    " 'visible', 'in_sync', 1)"
)
HIDDEN = (
    "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, generation) VALUES (%s,"
    " 'hidden', 'in_sync', 1)"
)
HALT = "INSERT INTO hlf_sync.halt (reason, detail) VALUES (%s, 'for the test')"
LOOKED = "UPDATE hlf_sync.mentor_ledger SET updated_at = now() + interval '1 s'"


@dataclass
class Desk:
    """A database without a fleet, and the command line on it."""

    dsn: str
    monkeypatch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def run(self, *arguments: str) -> tuple[int, str]:
        """The exit code and what a person sees of standard error."""
        self.monkeypatch.setattr(sys, "argv", ["hlf-sync", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), self.capture.readouterr().err

    def told(self, *arguments: str) -> str:
        """What a person sees of standard output."""
        self.monkeypatch.setattr(sys, "argv", ["hlf-sync", *arguments])
        with pytest.raises(SystemExit):
            main()
        return self.capture.readouterr().out

    def once_it_waits(self, act: Callable[[], object]) -> None:
        """Do something when the command waits for the second time, as a worker would."""
        looks = iter(range(1_000))

        def sleep(_seconds: float) -> None:
            if next(looks) == 1:
                act()

        self.monkeypatch.setattr(time, "sleep", sleep)


@pytest.fixture
def desk(
    cluster: Cluster,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Desk:
    """The sync role's command line on a fresh database."""
    monkeypatch.setenv("HLF_SYNC_POSTGRES_DSN", cluster.dsn(database, "hlf_sync"))
    monkeypatch.setenv("COLUMNS", "80")
    return Desk(cluster.dsn(database), monkeypatch, capsys)


def someone(desk: Desk, *statements: str) -> str:
    """A mentor of whom these statements are told."""
    mentor_id = str(uuid4())
    for statement in statements:
        desk.sql(statement, mentor_id)
    return mentor_id


@pytest.mark.parametrize("command", ["force", "sweep"])
@pytest.mark.parametrize("reason", ["auth", "dead_letter_limit", "mass_removal"])
def test_a_halt_that_stands_in_the_way_ends_the_waiting(
    desk: Desk, command: str, reason: str
) -> None:
    """Exit code 3, what halts, and what to do: a removal waits for the guard, and everything for the others."""
    mentor_id = someone(
        desk, PAUSED, LISTED, "INSERT INTO hlf_sync.held_removal (mentor_id) VALUES (%s)"
    )
    desk.sql(HALT, reason)
    code, said = desk.run(
        command, *([mentor_id, "--reason", "x"] if command == "force" else []), "--wait"
    )
    advice = HALTS[HaltReason(reason)].advice
    told = f"hlf-sync: halted: {halt_words(reason)} (for the test): {advice}\n"
    assert (code, said) == (3, told)


@pytest.mark.parametrize("command", ["force", "sweep"])
def test_the_guard_does_not_end_the_waiting_for_who_is_not_to_be_removed(
    desk: Desk, command: str
) -> None:
    """It stops removals only."""
    mentor_id = someone(desk, PAUSED, HIDDEN)
    desk.sql(HALT, "mass_removal")
    desk.once_it_waits(lambda: desk.sql(LOOKED))
    assert desk.run(
        command, *([mentor_id, "--reason", "x"] if command == "force" else []), "--wait"
    ) == (0, "")


@pytest.mark.requirement("R11")
def test_held_removals_are_shown_by_cause_with_their_share_of_the_listing(desk: Desk) -> None:
    """Whether it is a batch job or a broken view is seen by what they have in common."""
    held = "INSERT INTO hlf_sync.held_removal (mentor_id) VALUES (%s)"
    paused = {someone(desk, PAUSED, LISTED, held) for _ in range(22)}
    gone = someone(desk, LISTED, held)
    someone(desk, LISTED)
    said = desk.told("confirm-removals", "--reason", "x", "--yes")
    assert said.startswith("23 removals wait, 96% of the 24 that are shown:\n  22 with the status")
    assert "with the status paused" in said
    assert f"  1 gone from the application\n    {gone}\n" in said
    assert sum(mentor_id in said for mentor_id in paused) == 20
    assert "… and 2 more (--all shows them)" in said


def test_without_a_terminal_removals_are_confirmed_by_an_option_only(desk: Desk) -> None:
    """A script that forgot it gets exit code 2 and the remedy, and nothing is let through."""
    mentor_id = someone(
        desk, PAUSED, LISTED, "INSERT INTO hlf_sync.held_removal (mentor_id) VALUES (%s)"
    )
    arguments = ["confirm-removals", "--reason", "meant so"]
    assert desk.run(*arguments) == (
        2,
        "hlf-sync: there is no terminal to ask at: --yes is needed\n",
    )
    assert desk.sql("SELECT mentor_id::text, confirmed_at FROM hlf_sync.held_removal") == [
        (mentor_id, None)
    ]
    assert desk.run(*arguments, "--yes") == (0, "")
    assert desk.sql("SELECT confirmed_by IS NOT NULL FROM hlf_sync.held_removal") == [(True,)]


def test_with_stdin_closed_nobody_can_be_asked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python then has no stdin at all: the remedy, not a stack trace."""
    monkeypatch.setattr("sys.stdin", None)
    code, said = desk.run("distrust", "--reason", "meant so")
    assert (code, said.splitlines()[-1]) == (
        2,
        "hlf-sync: there is no terminal to ask at: --yes is needed",
    )


def test_brackets_in_what_a_person_typed_are_shown_as_typed(desk: Desk) -> None:
    """They are not markup of ours."""
    code, said = desk.run("force", "[/b]", "--reason", "x")
    assert code == 2
    assert said.startswith("hlf-sync: '[/b]' is not a mentor's id: wanted is the UUID of the app")


@pytest.mark.parametrize(
    "command", [["force", str(uuid4())], ["sweep"], ["confirm-removals", "--yes"]]
)
def test_a_reason_that_says_nothing_is_refused(desk: Desk, command: list[str]) -> None:
    """It is kept as the record of why."""
    code, said = desk.run(*command, "--reason", " ")
    assert (code, said) == (
        2,
        "hlf-sync: --reason says nothing: why? It is kept with the request\n",
    )
    assert desk.sql("SELECT count(*) FROM hlf_sync.sync_request") == [(0,)]


@pytest.mark.parametrize(
    "command",
    [
        ["force", "MENTOR", "--reason", "x"],
        ["pause", "--mentor", "MENTOR", "--reason", "x"],
        ["sweep", "--mentor", "MENTOR"],
        ["reconcile", "--mentor", "MENTOR"],
    ],
)
def test_naming_a_mentor_whom_nobody_knows_is_a_mistake(desk: Desk, command: list[str]) -> None:
    """A slip in the id would look like a success, and the one who was meant is called for."""
    mentor_id = str(uuid4())
    code, said = desk.run(*(mentor_id if word == "MENTOR" else word for word in command))
    assert code == 2
    assert said.startswith(f"hlf-sync: nobody knows {mentor_id}")
    assert desk.sql(
        "SELECT (SELECT count(*) FROM hlf_sync.sync_request), (SELECT count(*) FROM hlf_sync.pause)"
    ) == [(0, 0)]


@pytest.mark.requirement("R40")
@pytest.mark.parametrize("command", ["force", "sweep"])
def test_waiting_ends_at_its_timeout_with_what_is_still_open_and_what_is_in_the_way(
    desk: Desk, command: str
) -> None:
    """Not after nine minutes without a word: exit code 3, the mentor, the circuit, the missing
    worker.
    """
    mentor_id = someone(
        desk,
        PAUSED,
        LISTED,
        "UPDATE hlf_sync.mentor_ledger SET state = 'pending', last_error_code = 'server_error'"
        " WHERE mentor_id = %s",
    )
    desk.sql(
        "INSERT INTO hlf_sync.circuit (organization, state, failure_count, last_error_code)"
        " VALUES ('HLF', 'open', 3, 'server_error')"
    )
    chosen = [mentor_id, "--reason", "x"] if command == "force" else []
    code, said = desk.run(command, *chosen, "--wait", "--timeout", "0.3")
    assert code == 3
    assert said.startswith("hlf-sync: not done after 0.3 s: ")
    assert mentor_id in said
    assert "the circuit is open (server_error); no worker is running" in said


def test_waiting_tells_how_far_it_is(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for minutes sees that it goes on, and with whom."""
    monkeypatch.setattr(waiting, "_FIRST_WORD_S", 0.0)
    someone(desk, PAUSED, HIDDEN)
    desk.once_it_waits(lambda: desk.sql(LOOKED))
    code, said = desk.run("sweep", "--all", "--wait")
    assert code == 0
    assert said.startswith("0 s: 1 not looked at yet, for example ")


def test_a_sweep_that_was_waited_for_says_who_ended_as_a_dead_letter(desk: Desk) -> None:
    """Red before: "1 mentor asked for, and all of them are through"."""
    mentor_id = someone(desk, PAUSED, LISTED)
    desk.once_it_waits(
        lambda: desk.sql(
            "UPDATE hlf_sync.mentor_ledger SET state = 'dead_lettered', dead_letter_id = 'x',"
            " updated_at = now() + interval '1 s'"
        )
    )
    told = desk.told("sweep", "--wait", "--mentor", mentor_id)
    assert "1 mentor asked for, and all of them were looked at; 1 as a dead letter" in told


def test_what_is_shown_of_a_plan_is_said_to_be_of_its_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Red before: "investigate", of a mentor who had been delivered since."""
    letter = Letter(0, 0, "x", LetterKind.UNMAPPED, "mentor_mapping", 0)
    planned = [PlannedLetter(letter, Judgement(ReplayVerdict.INVESTIGATE, "because"))]
    plan = Plan("i", "2026-11-29T07:00:00Z", "t", "id", {}, {}, False, planned, 1)
    with pytest.raises(SettingsError, match="--yes is needed"):
        replay._ask_first(plan, yes=False)
    assert "As it was at 2026-11-29T07:00:00Z" in capsys.readouterr().err


@pytest.mark.requirement("R40")
def test_every_command_that_waits_has_a_deadline() -> None:
    """Also one that is added later: 120 s by default."""
    waiting_ones = [
        command
        for command in every_command(typer.main.get_command(app))
        if any("--wait" in parameter.opts for parameter in command.params)
    ]
    assert waiting_ones
    for command in waiting_ones:
        (timeout,) = [one for one in command.params if "--timeout" in one.opts]
        assert timeout.default == 120, command.name


def every_command(command: Any) -> Iterator[Any]:
    yield command
    children = getattr(command, "commands", {})
    for name in children:  # the command itself, not its line in the list
        yield from every_command(children[name])


def test_an_account_without_a_name_may_steer_too(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's user is often a number only."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    mentor_id = someone(desk, PAUSED)
    assert desk.run("force", mentor_id, "--reason", "x")[0] == 0
    assert desk.run("sweep")[0] == 0
    assert desk.run("confirm-removals", "--reason", "x", "--yes")[0] == 0
    assert desk.sql("SELECT DISTINCT requested_by FROM hlf_sync.sync_request") == [
        ("uid-4000000000",)
    ]


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b"<html>", b'{"verdict": "ok"}'])
def test_status_of_what_is_no_worker_says_so(desk: Desk, answer: bytes) -> None:
    """Exit code 4, no stack trace."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Door) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        desk.monkeypatch.setenv("HLF_SYNC_HTTP_PORT", str(server.server_port))
        code, said = desk.run("status")
    assert code == 4
    assert said.startswith("hlf-sync: the worker at http://127.0.0.1:")
