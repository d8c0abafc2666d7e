"""Logs: keys by allow-list, canonical lines, and a reader that is stuck, gone or absent stops
nothing.
"""

import ast
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hlf_sync.core.cause_words import WORDS
from hlf_sync.telemetry.logs import ALLOWED, Writer, _for_people, arrange

from tests.fixtures.log_lines import LogLines, captured

_TALKS = """
import sys, structlog
from hlf_sync.telemetry.logs import configure
writer = configure("info")
log = structlog.get_logger()
for number in range(30_000):
    log.info("delivered", mentor_id="6f1a1f3c-0000-4000-8000-000000000001", count=number)
print(writer.dropped, file=sys.stderr)
writer.close()
"""


@pytest.fixture
def lines() -> Iterator[LogLines]:
    """Logging into memory."""
    yield from captured()


@pytest.mark.requirement("R45")
def test_a_key_that_is_not_on_the_list_is_left_out(lines: LogLines) -> None:
    """Nobody's name gets in by accident."""
    structlog.get_logger().warning(
        "retry",
        mentor_id="m",
        full_name="Jane Canary",
        delay_ms=2000,
        authorization="Bearer canary",
    )
    (line,) = lines.wait()
    assert {key: line[key] for key in ("level", "event", "mentor_id", "delay_ms")} == {
        "level": "warning",
        "event": "retry",
        "mentor_id": "m",
        "delay_ms": 2000,
    }
    assert "anary" not in lines.text
    assert list(line)[:3] == ["timestamp", "level", "event"]


def test_a_librarys_code_is_told_in_words_too(lines: LogLines) -> None:
    """Beside the code, which scripts look for; a detail of its own stands. Red before: `_TRANSPORT`."""
    for said in ({}, {"detail": "ours"}):
        structlog.get_logger().warning("dependency_down", error_code="_TRANSPORT", **said)
    structlog.get_logger().warning("call", error_code="server_error")
    first, second, other = lines.wait(3)
    assert (first["error_code"], first["detail"]) == ("_TRANSPORT", WORDS["_TRANSPORT"])
    assert second["detail"] == "ours"
    assert "detail" not in other


@pytest.mark.requirement("R45")
def test_an_exception_is_told_by_type_and_place_and_never_by_its_text(lines: LogLines) -> None:
    """Its text may quote input."""
    try:
        raise ValueError("jane.canary@example.org")  # noqa: TRY301 - the place is what is looked at
    except ValueError:
        structlog.get_logger().error("unhandled", exc_info=True)
    (line,) = lines.wait()
    assert str(line["exception"]).startswith("ValueError at test_logs.py:")
    assert "canary" not in lines.text


def test_a_level_below_the_chosen_one_is_not_said(lines: LogLines) -> None:
    """Debug costs nothing at info."""
    structlog.get_logger().debug("kafka_client")
    structlog.get_logger().info("leader")
    assert [line["event"] for line in lines.wait()] == ["leader"]


def test_every_key_that_the_code_says_is_on_the_list_and_no_other() -> None:
    """A key that is left out is a mistake that nobody sees; one that nobody says is a hole."""
    said: set[str] = set()
    for path in (Path(__file__).parents[2] / "consumer").rglob("*.py"):
        module = ast.parse(path.read_text(encoding="utf-8"))
        for call in (node for node in ast.walk(module) if isinstance(node, ast.Call)):
            name = (
                call.func.attr
                if isinstance(call.func, ast.Attribute)
                else getattr(call.func, "id", "")
            )
            if name in {"debug", "info", "warning", "error", "critical", "tell"}:
                said |= {keyword.arg for keyword in call.keywords if keyword.arg}
                said |= _fields_of(
                    module, {keyword.value for keyword in call.keywords if keyword.arg is None}
                )
    assert (said - {"exc_info"}) - ALLOWED == set()
    assert ALLOWED - said == {"exception"}


def _fields_of(module: ast.Module, spread: set[ast.expr]) -> set[str]:
    """The keys of the function that `**fields(…)` calls."""
    names = {
        value.func.id
        for value in spread
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name)
    }
    functions = [
        node
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef) and node.name in names
    ]
    dicts = [
        node for function in functions for node in ast.walk(function) if isinstance(node, ast.Dict)
    ]
    return {
        str(key.value) for found in dicts for key in found.keys if isinstance(key, ast.Constant)
    }


@pytest.mark.parametrize("reader", ["stuck", "gone", "absent"])
def test_a_reader_that_is_stuck_gone_or_absent_stops_nothing(reader: str) -> None:
    """30,000 lines into a pipe that nobody reads, that is closed, and without any stdout: the
    process works on, counts, and ends in order.
    """
    ours, theirs = os.pipe()
    if reader == "gone":
        os.close(ours)
    command = f'exec "{sys.executable}" -c "$TALKS" ' + (">&-" if reader == "absent" else "")
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TALKS": _TALKS},
    )
    os.close(theirs)
    try:
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        if reader != "gone":
            os.close(ours)
    assert process.returncode == 0, errors
    assert int(errors) > 0, errors
    assert len(errors.splitlines()) == 1


def test_a_pipe_that_is_read_late_gets_every_line_whole() -> None:
    """The writer waits for its reader; nobody else does."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with os.fdopen(theirs, "w") as stream:
        writer = Writer(stream)
        for number in range(9_000):
            writer.msg(f"{number:06d} {'x' * 40}")
        found = b""
        while found.count(b"\n") < 9_000:
            found += os.read(ours, 65536)
        writer.close()
    os.close(ours)
    assert [int(line.split()[0]) for line in found.splitlines()] == list(range(9_000))
    assert writer.dropped == 0


def test_a_thread_that_ends_by_an_error_is_told_by_its_name(lines: LogLines) -> None:
    """In our words, not as a trace on stderr that may quote input."""

    def fail() -> None:
        raise ValueError("jane.canary@example.org")

    thread = threading.Thread(target=fail, name="kafka-consumer")
    thread.start()
    thread.join()
    (line,) = lines.wait()
    assert (line["event"], line["level"], line["detail"]) == (
        "thread_ended",
        "error",
        "kafka-consumer",
    )
    assert "canary" not in lines.text


def test_libraries_say_nothing(lines: LogLines) -> None:
    """Their lines quote addresses, statements and headers."""
    logging.getLogger("psycopg.pool").error("connection to host=db.example.org failed")
    logging.getLogger("asyncio").critical("canary")
    structlog.get_logger().info("leader")
    assert [line["event"] for line in lines.wait()] == ["leader"]


def test_on_a_terminal_a_line_is_for_people() -> None:
    """Time, level, what, and the rest as words; partitions as ranges."""
    arranged = arrange(None, "info", {"event": "partitions_assigned", "partitions": [0, 1, 2, 5]})
    text = _for_people(None, "info", arranged)
    assert (
        re.sub(r"\x1b\[\d*m", "", text).split(None, 1)[1]
        == "info    partitions_assigned  partitions 0-2,5"
    )
