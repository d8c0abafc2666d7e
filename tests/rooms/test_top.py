"""`hlf-sync top` as a person meets it: on a terminal and without one, narrow, for scripts, with
workers that go away, and its end.
"""

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hlf_sync.commands.app import app
from hlf_sync.config.loading import load
from hlf_sync.errors import SettingsError
from hlf_sync.top.journal import Event
from hlf_sync.top.look import addresses_of, looker
from hlf_sync.top.paint import paint
from hlf_sync.top.screen import Past, draw, sparkline
from rich.console import Console
from typer.testing import CliRunner, Result

from tests.fakes.pages import OPEN, Pages, metrics, status, worker
from tests.fixtures.terminal import Terminal

COMMAND = [sys.executable, "-m", "hlf_sync", "top"]
BUSY = {
    'hlf_sync_group_lag_records{topic="t"}': 4321,
    'hlf_sync_dynamics_requests_total{operation="remove",outcome="ok"}': 12,
    'hlf_sync_dynamics_requests_total{operation="remove",outcome="server_error"}': 3,
    'hlf_sync_listing_wrong_mentors{wanted="hidden"}': 1234,
    'hlf_sync_listing_wrong_oldest_seconds{wanted="hidden"}': 5000,
    'hlf_sync_verdict{verdict="stalled",stage="deliver",reason="circuit_open"}': 1,
    'hlf_sync_dependency_up{dependency="schema_registry"}': 0,
    'hlf_sync_stage_seconds_bucket{stage="kafka",le="0.1"}': 3,
    'hlf_sync_stage_seconds_bucket{stage="kafka",le="+Inf"}': 4,
}

IMPORTANT = (
    "STALLED",
    "listing",
    "1,234 should be hidden",
    "the circuit is not closed",
    "the schema registry does not answer",
    "17 open",
    "135,795",
    "away",
    "server_error 3",
)


def ran(*arguments: str) -> Result:
    """The command without a terminal, in this process."""
    return CliRunner().invoke(app, ["top", *arguments])


def run(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command without a terminal."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HLF_SYNC_")}
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.fixture(autouse=True)
def _no_env_file_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `.env` of the developer must not decide."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("width", [60, 80, 132, 200])
def test_no_line_is_wider_than_the_terminal_and_nothing_important_is_cut(width: int) -> None:
    """With everything on it at once, long addresses and large figures."""
    with worker() as busy, looker() as eyes:
        lag = {f"hlf.mentor.changes-{number}": number * 12_345 for number in range(12)}
        busy.status = status(
            verdict="stalled",
            circuit=OPEN,
            lag=lag,
            freshness_s=5_000,
            dead_letters_open=17,
            assignment=list(range(12)),
        )
        busy.metrics = metrics(BUSY)
        looks = eyes.look(
            [busy.address, "http://a-worker-with-a-very-long-name.internal.invalid:18080"], 10.0
        )
    console = Console(width=width, record=True, file=io.StringIO(), force_terminal=True)
    events = [Event(0, "act", "something long happened " * 6)]
    console.print(
        draw(
            paint(looks, [], {}),
            at_ms=0,
            past=Past([1, 2, 5_000] * 13, [0, 3, 1] * 13),
            events=events,
            width=width,
        )
    )
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    flat = " ".join(re.sub(r"[┃┏┓┗┛━]", " ", text).split())
    for words in IMPORTANT:
        assert words in flat
    assert (
        flat.index("listing")
        < flat.index("why")
        < flat.index("circuit open")
        < flat.index("lag ")
        < flat.index("partitions lag freshness mentors")
    )


def test_without_a_terminal_it_prints_one_picture_and_ends() -> None:
    """As in a pipe, with rates from two looks and no control characters."""
    with worker() as quiet:
        found = ran("--worker", quiet.address)
    assert found.exit_code == 0
    assert found.stderr == ""
    assert "OK" in found.stdout
    assert "nobody is wrong, as far as we know" in found.stdout
    assert "0.0 calls/s" in found.stdout
    assert "\x1b" not in found.stdout


def test_json_is_clean_and_says_the_same() -> None:
    """For scripts: figures, reasons, and the sentences."""
    with worker() as busy:
        busy.status, busy.metrics = status(verdict="stalled", circuit=OPEN), metrics(BUSY)
        found = ran("--json", "--worker", busy.address)
    said: dict[str, Any] = json.loads(found.stdout)
    assert (found.exit_code, said["verdict"], said["group_lag"], said["circuit"]["state"]) == (
        0,
        "stalled",
        4321,
        "open",
    )
    assert said["reasons"] == ["registry_down", "circuit_open"]
    assert said["wrong"] == {"mentors": {"hidden": 1234}, "oldest_s": 5000.0}
    assert said["pace"]["calls"] == 0
    assert {line["section"] for line in said["headlines"]} == {
        "HlfSyncDependencyDown",
        "HlfSyncCircuitOpen",
    }


def test_one_of_two_workers_away_is_shown_and_is_no_failure_of_the_command() -> None:
    """The picture is of those that answer."""
    with worker() as quiet:
        found = ran("--once", "--worker", quiet.address, "--worker", "127.0.0.1:1")
    assert found.exit_code == 0
    assert "127.0.0.1:1 " in found.stdout
    assert "refuses connections" in " ".join(found.stdout.split())


def test_with_no_worker_at_all_it_says_what_to_do_and_exits_4(tmp_path: Path) -> None:
    """The address comes from the settings."""
    found = run("--once", folder=tmp_path, HLF_SYNC_HTTP_PORT="1")
    assert found.returncode == 4
    assert "AWAY" in found.stdout
    assert "hlf-sync run" in found.stdout
    assert "http://127.0.0.1:1 refuses connections" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("said", "metrics_page", "trouble"),
    [
        ("<html>hello</html>", "", "is not a worker of hlf-sync"),
        ({"verdict": "ok"}, "", "is not a worker of hlf-sync"),
        (status(), "no metrics here {", "is not a worker of hlf-sync"),
        (None, "", "is not a worker of hlf-sync"),
    ],
)
def test_something_else_that_listens_there_is_told_apart(
    said: object, metrics_page: str, trouble: str
) -> None:
    """A web server, another program, half an answer."""
    with worker() as other, looker() as eyes:
        other.status, other.metrics = said, metrics_page
        (found,) = eyes.look([other.address], 1.0)
    assert found.said is None
    assert trouble in (found.trouble or "")


def test_a_status_of_a_newer_worker_is_understood() -> None:
    """What it says besides is left alone."""
    with worker() as newer, looker() as eyes:
        newer.status = status(stage="deliver", reason="circuit_open", more={"deep": [1]})
        (found,) = eyes.look([newer.address], 1.0)
    assert found.said is not None


@pytest.mark.parametrize(
    ("given", "root"),
    [
        (["8081"], ["http://127.0.0.1:8081"]),
        (["host:8081", "http://host:8081/"], ["http://host:8081"]),
        (["[::1]:9"], ["http://[::1]:9"]),
        (["https://host"], ["https://host"]),
        ([], ["http://127.0.0.1:8080"]),
    ],
)
def test_a_worker_may_be_named_in_several_ways(given: list[str], root: list[str]) -> None:
    """The same one twice counts once."""
    assert addresses_of(given, load(environ={})) == root


def test_a_worker_that_listens_everywhere_is_asked_on_this_machine() -> None:
    """0.0.0.0 is an address to listen on, not to call."""
    assert addresses_of([], load(environ={"HLF_SYNC_HTTP_HOST": "0.0.0.0"})) == [  # noqa: S104 - never bound
        "http://127.0.0.1:8080"
    ]
    assert addresses_of([], load(environ={"HLF_SYNC_HTTP_HOST": "::"})) == ["http://[::1]:8080"]


@pytest.mark.parametrize(
    "text", ["", "foo:bar", "ftp://host:1", "host:99999", "user:secret@host:1", "http://"]
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    """Exit 2, before anything is asked."""
    with pytest.raises(SettingsError, match=r"--worker 127\.0\.0\.1:8080"):
        addresses_of([text], load(environ={}))


def test_a_port_that_each_worker_chooses_must_be_said() -> None:
    """Port 0 in the settings."""
    with pytest.raises(SettingsError, match="--worker"):
        addresses_of([], load(environ={"HLF_SYNC_HTTP_PORT": "0"}))


def test_a_sparkline_of_nothing_is_empty() -> None:
    """And the highest bar is the largest figure."""
    assert sparkline([]) == sparkline([0, 0]) == ""
    assert sparkline([0, 4, 8]) == "▁▅█"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_on_a_terminal_it_lives_until_it_is_ended_and_gives_the_screen_back(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A worker that goes away meanwhile is shown so, with how long; nothing of Python is seen."""
    with worker() as pages:
        terminal = Terminal("top", "--worker", pages.address, "--every", "0.2", folder=tmp_path)
        terminal.read_until(lambda text: "OK" in text)
        away(pages)
        terminal.read_until(lambda text: "away for" in text and "AWAY" in text)
        code = terminal.end(number)
        terminal.close()
    assert code == 0
    assert "Traceback" not in terminal.text
    assert "\x1b[?1049h" in terminal.text, "the alternate screen"
    assert terminal.text.rindex("\x1b[?1049l") > terminal.text.rindex("\x1b[?1049h")
    assert terminal.text.rindex("\x1b[?25h") > terminal.text.rindex("\x1b[?25l"), (
        "the cursor is back"
    )
    assert "AWAY" in terminal.text[terminal.text.rindex("\x1b[?1049l") :], "the last picture stays"


def away(pages: Pages) -> None:
    """It drops every connection from now on."""
    pages.status = None
