"""What the demo and the download show on a terminal of 80 columns: nothing that matters is cut."""

import io
import time
from typing import Any

import pytest
from hlf_sync.core.model import LedgerState
from hlf_sync_sandbox.demo.cast import OTHERS, OURS, PROTAGONISTS
from hlf_sync_sandbox.demo.sight import Line, Sight, _line
from hlf_sync_sandbox.demo.view import View, _cast
from hlf_sync_sandbox.screen import Screen
from rich.console import Console


def shown(sight: Sight, width: int) -> list[str]:
    """The table's lines."""
    console = Console(file=io.StringIO(), width=width)
    console.print(_cast(sight))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()


def row(**values: Any) -> tuple[Any, ...]:
    """What the database says of a mentor."""
    known = {
        "organization": OURS,
        "status": "active",
        "expires_s": 31_536_000.0,
        "now_s": 0.0,
        "has_ledger": True,
        "applied": "visible",
        "intended": None,
        "state": LedgerState.IN_SYNC,
        "error_code": None,
        "operation": None,
    }
    return tuple((known | values).values())


WIDEST = [
    row(status="reinstated", expires_s=-1.0, applied="hidden", operation="remove"),
    row(organization=OTHERS, status="paused", has_ledger=False),
    row(status="reinstated", state=LedgerState.DEAD_LETTERED, error_code="mentor_mapping"),
    row(expires_s=-1.0),
    row(expires_s=4.0),
]


@pytest.mark.parametrize("values", WIDEST)
def test_eighty_columns_hold_the_widest_of_each_column(values: tuple[Any, ...]) -> None:
    """The CRM's value last and whole, nothing with an ellipsis."""
    lines = tuple(_line(Line(one.role, crm=None), values) for one in PROTAGONISTS)
    head, *rows = shown(Sight(lines), 80)
    assert head.split() == ["mentor", "status", "certificate", "decision", "CRM"]
    assert all(one.rstrip().endswith("not set") for one in rows)
    assert "…" not in "".join(rows)
    assert max(map(len, rows)) <= 80


def test_on_a_narrower_screen_the_decision_gives_way() -> None:
    """Never the CRM."""
    lines = tuple(_line(Line(one.role, crm=True), WIDEST[0]) for one in PROTAGONISTS)
    _, *rows = shown(Sight(lines), 70)
    assert all(one.rstrip().endswith("shown") for one in rows)


def test_a_mentor_whose_certificate_has_lapsed_is_told_to_be_removed_and_why() -> None:
    """Both: what was done, and because of what."""
    values = row(expires_s=-1.0, applied="hidden", operation="remove")
    assert _line(Line("certificate lapses"), values).decision == "removed: no certificate"
    restored = row(operation="restore")
    assert _line(Line("renews it"), restored).decision == "restored: certified"
    paused = row(status="paused", applied="hidden", operation="remove")
    assert _line(Line("goes on leave"), paused).decision == "removed: paused"


def test_the_download_bar_fits_into_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for the title, one for the bar."""
    monkeypatch.setenv("TERM", "xterm")
    file = io.StringIO()
    console = Console(
        file=file, width=80, force_terminal=True, color_system=None, legacy_windows=False
    )
    with Screen(console).download(
        "129 files from https://repository.example.org/maven2", 227_000_000
    ) as advance:
        advance(113_000_000)
        end = time.monotonic() + 30
        while "113.0" not in file.getvalue():
            assert time.monotonic() < end, file.getvalue()
    told = [line for line in file.getvalue().replace("\r", "\n").split("\n") if "MB" in line]
    assert told
    for line in told:
        assert len(plain(line)) <= 80


def plain(text: str) -> str:
    """Without the terminal's codes."""
    import re  # noqa: PLC0415 - only here

    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_a_scene_is_wrapped_at_words_and_an_address_stays_whole() -> None:
    """On a terminal; a log has one line for each."""
    text = (
        "the stack comes up: PostgreSQL, Kafka, Connect with Debezium, a schema registry, Dynamics"
    )
    link = "http://127.0.0.1:20284/#token=" + "x" * 200
    for is_plain in (False, True):
        console = Console(file=io.StringIO(), width=80)
        view = View(console, is_plain=is_plain)
        view.scene(text)
        view.say(f"a page: {link}")
        file = console.file
        assert isinstance(file, io.StringIO)
        written = file.getvalue()
        assert link in written
        first, second = written.splitlines()[:2]
        if is_plain:
            assert first.endswith(text)
        else:
            assert len(first) <= 80
            assert f"{first.split('▶ ')[1].rstrip()} {second.strip()}" == text
