"""`hlf-sync top` on a small terminal: what is new stays in sight, and a key shows whom, page by page."""

import io
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hlf_sync.core.model import MentorId, Visibility
from hlf_sync.core.open_update import Cause, Conditions, OpenState, OpenUpdate
from hlf_sync.pending.open_mentors import OpenMentor
from hlf_sync.pending.screenful import draw, paged
from hlf_sync.top.exposition import parse
from hlf_sync.top.journal import Event
from hlf_sync.top.keys import OnScreen, Press, meaning, turned
from hlf_sync.top.look import Look, Said
from hlf_sync.top.paint import paint
from hlf_sync.top.screen import Past, fitted
from rich.console import Console

from tests.fakes.pages import OPEN, metrics, status, worker
from tests.fixtures.cluster import Cluster
from tests.fixtures.terminal import Terminal
from tests.rooms.test_pending import OPEN as OPEN_CIRCUIT
from tests.rooms.test_pending import Desk
from tests.rooms.test_top import BUSY


def one_open(number: int, cause: Cause) -> OpenMentor:
    update = OpenUpdate(
        should_be=Visibility.HIDDEN,
        shown=Visibility.VISIBLE,
        state=OpenState.PENDING,
        cause=cause,
        next_try_s=1_000.0,
        since_s=10.0 * number,
    )
    mentor_id = MentorId(f"{number:08x}-0000-4000-8000-000000000001")
    return OpenMentor(mentor_id, None, update, "server_error", 1, None)


FOUND = [one_open(number, Cause.CIRCUIT_OPEN) for number in range(30)] + [
    one_open(number, Cause.HELD) for number in range(30, 35)
]


@pytest.mark.parametrize("height", [10, 24, 40, 200])
def test_every_mentor_is_on_exactly_one_page_and_no_page_is_higher_than_the_screen(
    height: int,
) -> None:
    """With each cause's words on top of it again."""
    pages = paged(FOUND, height)
    shown = [one for page in pages for part in page for one in part.mentors]
    assert sorted(one.mentor_id for one in shown) == sorted(one.mentor_id for one in FOUND)
    for number in range(len(pages)):
        console = Console(width=80, record=True, file=io.StringIO())
        console.print(draw(pages, number, Conditions(now_s=1_000.0), "keys"))
        lines = console.export_text().splitlines()
        assert len(lines) <= height
        assert max(map(len, lines)) <= 80
        assert "shown → hidden" in "".join(lines)
        assert "do: " in "".join(lines)


def test_a_page_says_which_of_how_many_it_shows() -> None:
    """Of a cause that does not fit."""
    pages = paged(FOUND, 24)
    assert [[(part.cause, part.first, part.count) for part in page] for page in pages] == [
        [(Cause.HELD, 1, 5), (Cause.CIRCUIT_OPEN, 1, 30)],
        [(Cause.CIRCUIT_OPEN, 12, 30)],
    ]
    assert paged([], 24) == [[]]


def test_keys_turn_pages_and_never_beyond_the_ends() -> None:
    """Escape leads back to the fleet first, and from there away."""
    view = turned(OnScreen(), Press.WHOM, 2)
    assert view == OnScreen(is_whom=True)
    assert turned(view, Press.BACK, 2) == view
    second = turned(view, Press.NEXT, 2)
    assert second == OnScreen(is_whom=True, page=1)
    assert turned(second, Press.NEXT, 2) == second
    assert turned(second, Press.BACK, 2) == view
    assert turned(OnScreen(is_whom=True, page=9), Press.BACK, 3) == OnScreen(is_whom=True, page=1)
    assert turned(second, Press.LEAVE, 2) == OnScreen()
    assert turned(OnScreen(), Press.LEAVE, 1) is None
    assert turned(OnScreen(), Press.NEXT, 1) == OnScreen()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("p", Press.WHOM),
        ("nnn", Press.NEXT),
        (" ", Press.NEXT),
        ("\x1b[6~", Press.NEXT),
        ("\x1b[5~", Press.BACK),
        ("\x1b", Press.LEAVE),
        ("x", None),
        ("\x1b[15~", None),
        ("é", None),
    ],
)
def test_a_key_means_one_thing_or_nothing(text: str, key: Press | None) -> None:
    """A key that is held down counts once; an unknown function key is not Escape."""
    assert meaning(text) is key


@pytest.mark.parametrize("height", [18, 20, 23, 30, 39])
def test_on_a_terminal_of_few_lines_the_verdict_and_what_is_new_stay_in_sight(height: int) -> None:
    """An outage with everything on it; 23 lines are a terminal of 24 with its line of keys."""
    lag = {f"hlf.mentor.changes-{number}": number * 7 for number in range(12)}
    said = status(verdict="stalled", circuit=OPEN, lag=lag, freshness_s=300, dead_letters_open=2)
    looks = [
        Look(f"http://host-{number}:8080", 10.0, Said.model_validate(said), parse(metrics(BUSY)))
        for number in range(3)
    ]
    events = [Event(0, "act", f"event {number}") for number in range(9)]
    console = Console(width=80, height=height, record=True, file=io.StringIO())
    console.print(
        fitted(
            console,
            height,
            paint(looks, looks, {}),
            at_ms=0,
            past=Past([1, 2], [0, 1]),
            events=events,
        )
    )
    text = console.export_text()
    assert len(text.splitlines()) <= height
    for words in ("STALLED", "listing", "circuit", "do ", "event 8"):
        assert words in text
    assert ("commit → Kafka" in text) is (height == 39), "how long what takes is left out first"


@pytest.fixture
def desk(cluster: Cluster, database: str) -> Iterator[Desk]:
    desk = Desk(cluster.dsn(database), cluster.dsn(database, "hlf_sync"))
    with desk.worker:
        yield desk


@pytest.mark.postgres
def test_the_key_p_shows_whom_and_the_terminal_is_given_back(desk: Desk, tmp_path: Path) -> None:
    """On 80 by 24, thirty mentors behind an open circuit."""
    mentors = {desk.mentor(applied="visible") for _ in range(30)}
    desk.sql(OPEN_CIRCUIT)
    with worker() as pages:
        terminal = Terminal(
            "top", "--worker", pages.address, "--every", "0.3",
            folder=tmp_path, rows=24, settings=desk.settings,
        )  # fmt: skip
        terminal.read_until(lambda text: "p: whom" in text)
        terminal.press("p")
        terminal.read_until(lambda _: "page 1 of 2" in terminal.screen[0])
        first = set(re.findall(r"[0-9a-f-]{36}", "\n".join(terminal.screen)))
        assert len(terminal.screen) <= 24
        assert any("30 circuit_open (1 to " in line for line in terminal.screen)
        terminal.press("n")
        terminal.read_until(lambda _: "page 2 of 2" in terminal.screen[0])
        second = set(re.findall(r"[0-9a-f-]{36}", "\n".join(terminal.screen)))
        assert first | second == mentors
        assert not first & second
        terminal.press("b")
        terminal.read_until(lambda _: "page 1 of 2" in terminal.screen[0])
        terminal.press("q")
        terminal.read_until(lambda _: "listing" in "\n".join(terminal.screen))
        terminal.press("q")
        code = terminal.process.wait(30)
        terminal.close()
    assert code == 0
    assert "Traceback" not in terminal.text
    assert terminal.text.rindex("\x1b[?1049l") > terminal.text.rindex("\x1b[?1049h")


def test_without_a_database_the_key_p_says_so_and_top_goes_on(tmp_path: Path) -> None:
    """The fleet's pages need none."""
    with worker() as pages:
        terminal = Terminal(
            "top", "--worker", pages.address, "--every", "0.3",
            folder=tmp_path, rows=24, settings={"HLF_SYNC_POSTGRES_DSN": "host=127.0.0.1 port=1"},
        )  # fmt: skip
        terminal.read_until(lambda text: "p: whom" in text)
        terminal.press("p")
        terminal.read_until(lambda _: "PostgreSQL" in "\n".join(terminal.screen))
        terminal.press("p")
        terminal.read_until(lambda _: "nobody is wrong" in "\n".join(terminal.screen))
        code = terminal.end(signal.SIGINT)
        terminal.close()
    assert code == 0
    assert "Traceback" not in terminal.text
