"""What others wrote reaches a terminal and a log as plain text: no command of theirs is obeyed, no
markup is taken for ours, and no line is forged.
"""

import ast
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import hlf_sync
import orjson
import psycopg
import pytest
import structlog
from hlf_sync.__main__ import main
from hlf_sync.commands.options import said
from hlf_sync.commands.terminal import Terminal, echo
from hlf_sync.core.plain_text import plain
from hlf_sync.doctor import report as doctor_report
from hlf_sync.doctor.checkup import Checkup
from hlf_sync.doctor.finding import Finding, Severity
from hlf_sync.telemetry import logs
from hlf_sync.watch.status_page import render
from rich.table import Table
from rich.text import Text

from tests.fixtures.cluster import Cluster

TITLE, CLIPBOARD, ERASE = "\x1b]0;owned\x07", "\x1b]52;c;cm0gLXJm\x07", "\x1b[2J\x1b[H"
C1, BIDI, HIDDEN, LINE = "\x9b2J", "\u202egnilsil", "\u200b", "x\nhlf-sync: all is well"
MARKUP, EMOJI = "[red]r[/red] [link=https://x.example]l[/link] [/]", ":warning:"
EVIL = f"{TITLE}{CLIPBOARD}{ERASE}{C1}{BIDI}{HIDDEN} {MARKUP} {EMOJI} {LINE}"


def is_harmless(text: str) -> bool:
    """Nothing but what can be seen, and line breaks; the markup and its brackets as written; no
    forged line.
    """
    lines = [line.strip() for line in text.splitlines()]
    return (
        all(char.isprintable() or char == "\n" for char in text)
        and "\u26a0" not in text
        and not any(line.startswith("hlf-sync: all is well") for line in lines)
    )


@pytest.mark.requirement("R68")
def test_whatever_is_not_to_be_seen_is_spelt_out() -> None:
    """And everything that is stays: letters of every script, dashes, arrows."""
    assert plain(TITLE + C1 + BIDI + "\n\t\x00\ud800") == (
        r"\x1b]0;owned\x07\x9b2J\u202egnilsil\n\t\x00\ud800"
    )
    seen = "Ågot – 名前 → 3 · «ø» é"
    assert plain(seen) is seen
    assert plain("a\nb\r", keeps_lines=True) == "a\nb\\r"


def drawn(draw: Callable[[Terminal], object]) -> str:
    """What is written to a terminal's file; colours off, so that every escape is somebody's."""
    out = io.StringIO()
    draw(Terminal(file=out, width=100, color_system=None))
    return out.getvalue()


@pytest.mark.requirement("R68")
@pytest.mark.parametrize("part", [TITLE, CLIPBOARD, ERASE, C1, BIDI, HIDDEN, MARKUP, EMOJI])
def test_the_console_obeys_nobody(part: str) -> None:
    """As a string, as a Text, in a table, in a line of ours."""
    table = Table()
    table.add_column(part)
    table.add_row(part, Text(part))
    for one in (part, Text(part), table, said(part, "red")):
        assert is_harmless(drawn(lambda terminal, one=one: terminal.print(one)))  # type: ignore[misc]
    assert "[red]r[/red]" in drawn(lambda terminal: terminal.print(MARKUP))


@pytest.mark.requirement("R68")
def test_a_plain_line_obeys_nobody_either(capsys: pytest.CaptureFixture[str]) -> None:
    """Without layout."""
    echo(EVIL.replace("\n", " "))
    assert is_harmless(capsys.readouterr().out)


@pytest.mark.requirement("R68")
def test_a_forged_line_in_what_halts_is_none() -> None:
    """A detail that pretends to be the answer."""
    assert drawn(lambda terminal: terminal.print(said(plain(LINE), "red"))).count("\n") == 1


@pytest.mark.requirement("R68")
def test_status_doctor_and_plan_show_as_written_what_others_said() -> None:
    """A worker's page, Connect's state, a finding, a letter's fields."""
    found: dict[str, Any] = {
        "verdict": EVIL,
        "because": EVIL,
        "advice": EVIL,
        "stage": EVIL,
        "not_ready": [EVIL],
        "freshness_s": 0,
        "lag": {},
        "group_lag": None,
        "queue": {"dirty": 0, "in_progress": 0, "waiting": 0},
        "circuit": {"state": EVIL, "last_error_code": EVIL},
        "delivery": EVIL,
        "leader": True,
        "wrong": {},
        "dead_letters_open": 0,
        "held_removals": 0,
        "source": {
            "connector": {EVIL: EVIL},
            "slot": {"status": EVIL, "lag_bytes": None},
            "heartbeat_s": {"kafka": None},
        },
    }
    assert is_harmless(drawn(lambda terminal: terminal.print(render(found))))
    checkup = Checkup(
        (Finding("x", Severity.FAIL, EVIL.replace("\n", " "), EVIL.replace("\n", " ")),)
    )
    assert is_harmless(drawn(lambda terminal: terminal.print(doctor_report.table(checkup))))
    assert is_harmless(plain(doctor_report.line(checkup.findings[0])))


@pytest.mark.requirement("R68")
@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_log_line_is_plain(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    """For people and for machines: a log is read on a terminal too."""
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: is_terminal, raising=False)
    writer = logs.configure("info", out)
    try:
        structlog.get_logger().warning("no_call", reason=EVIL, mentor_id=EVIL)
    finally:
        writer.close()
    line = out.getvalue()
    for code in ("\x1b[2m", "\x1b[0m", "\x1b[33m") if is_terminal else ():
        line = line.replace(code, "")
    assert line.count("\n") == 1
    assert is_harmless(line)
    assert is_terminal or orjson.loads(line)["reason"] == plain(EVIL)


@pytest.mark.postgres
@pytest.mark.requirement("R68")
def test_why_and_force_tell_hostile_rows_as_they_were_written(
    cluster: Cluster,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who asked, why, the status, an error's code, a halt's detail."""
    mentor_id = str(uuid4())
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        for statement, *values in (
            ("INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', %s)", EVIL),
            (
                (
                    "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason)"
                    " VALUES (%s, 'manual_coordinator_action', %s, %s)"
                ),
                EVIL,
                EVIL,
            ),
            (
                (
                    "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, last_error_code,"
                    " dead_letter_id, lease_owner) VALUES (%s, 'visible', 'dead_lettered', %s, %s, %s)"
                ),
                EVIL,
                EVIL,
                EVIL,
            ),
        ):
            connection.execute(statement.encode(), (mentor_id, *values))
        connection.execute("INSERT INTO hlf_sync.halt VALUES ('auth', now(), %s)", (EVIL,))
    monkeypatch.setenv("HLF_SYNC_POSTGRES_DSN", cluster.dsn(database, "hlf_sync"))
    monkeypatch.setenv("COLUMNS", "100")
    for arguments in (
        ["why", mentor_id, "--no-changes"],
        ["why", mentor_id, "--no-changes", "--json"],
        ["force", mentor_id, "--reason", EVIL, "--wait"],
        ["force", EVIL, "--reason", EVIL],
        ["reconcile", "--settle", "0"],
        ["reconcile", "--settle", "0", "--json"],
    ):
        monkeypatch.setattr(sys, "argv", ["hlf-sync", *arguments])
        with pytest.raises(SystemExit):
            main()
        captured = capsys.readouterr()
        assert is_harmless(captured.out), arguments
        assert is_harmless(captured.err), arguments


def test_nothing_is_printed_but_through_the_one_door() -> None:
    """No other Console, no `typer.echo`, no bare print, outside the door and the crash handlers."""
    package = Path(hlf_sync.__file__).parent
    doors = {"commands/terminal.py", "__main__.py", "crash.py"}
    found = [
        f"{path.relative_to(package)}:{node.lineno}"
        for path in package.rglob("*.py")
        if path.relative_to(package).as_posix() not in doors
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _is_print(node.func)
    ]
    assert found == []


def _is_print(called: ast.expr) -> bool:
    if isinstance(called, ast.Name):
        return called.id in {"print", "Console"}
    return (
        isinstance(called, ast.Attribute)
        and isinstance(called.value, ast.Name)
        and (called.value.id, called.attr)
        in {("typer", "echo"), ("typer", "secho"), ("rich", "print")}
    )
