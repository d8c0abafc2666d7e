"""The webhook: what is told, once, in which form; and that a hook that is away stops nothing."""

import asyncio
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from hlf_sync.config.loading import load
from hlf_sync.core.announcement import (
    EXPOSED_S,
    NIGHT_S,
    AnnouncedSight,
    Announcement,
    AnnouncementKind,
    Form,
    news,
    payload,
)
from hlf_sync.core.model import HaltReason
from hlf_sync.errors import SettingsError
from hlf_sync.postgres import announced
from hlf_sync.postgres.connections import open_pool
from hlf_sync.watch.announcer import Announcer, Hook

from tests.fixtures.cluster import Cluster

pytestmark = pytest.mark.requirement("R48")

HALTED = AnnouncedSight(halts=frozenset({HaltReason.AUTH}), exposed=0, night_overdue_s=0.0)
QUIET = AnnouncedSight(exposed=0, night_overdue_s=0.0)


class Receiver:
    """What was posted; `status` is what it answers."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.status = 200
        self.address = ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A hook on this machine."""
    found = Receiver()

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if found.status == 200:
                found.bodies.append(json.loads(body))
            self.send_response(found.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    found.address = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


class Ground:
    """An announcer with what it sees and what it remembers."""

    def __init__(self, receiver: Receiver, form: Form = "json") -> None:
        self.sight = QUIET
        self.known: set[tuple[str, str]] = set()
        hook = Hook(address=lambda: receiver.address, form=form, organization="HLF")
        self.announcer = Announcer(
            hook=hook,
            sight=lambda: self.sight,
            leads=lambda: True,
            told=self._told,
            note=self._note,
            every_s=0.01,
        )

    async def _told(self) -> set[tuple[str, str]]:
        return set(self.known)

    async def _note(self, announcement: Announcement) -> None:
        (self.known.discard if announcement.is_over else self.known.add)(announcement.key)


async def test_a_halt_is_told_once_when_it_begins_and_once_when_it_is_over(
    receiver: Receiver,
) -> None:
    """With what it means and what to do; nobody's name."""
    ground = Ground(receiver)
    for at_s, sight in enumerate((QUIET, HALTED, HALTED, QUIET, QUIET)):
        ground.sight = sight
        await ground.announcer.look(float(at_s))
    assert [(body["kind"], body["subject"], body["state"]) for body in receiver.bodies] == [
        ("halt", "auth", "begun"),
        ("halt", "auth", "over"),
    ]
    assert "renew the credentials" in receiver.bodies[0]["text"]


async def test_a_hook_that_refuses_is_tried_again_ever_more_rarely_until_it_takes_it(
    receiver: Receiver,
) -> None:
    """And the worker goes on."""
    ground = Ground(receiver)
    ground.sight, receiver.status = HALTED, 503
    service = asyncio.create_task(ground.announcer.run())
    try:
        async with asyncio.timeout(30):
            while ground.announcer._pause_s < 0.02:
                await asyncio.sleep(0.005)
            assert receiver.bodies == [] and not ground.known
            receiver.status = 200
            while not ground.known:
                await asyncio.sleep(0.005)
    finally:
        service.cancel()
    assert len(receiver.bodies) == 1


async def test_what_is_over_before_it_could_be_told_is_not_told(receiver: Receiver) -> None:
    """Nobody was alarmed, so nobody needs the all-clear."""
    ground = Ground(receiver)
    ground.sight, receiver.status = HALTED, 500
    await ground.announcer.look(0.0)
    ground.sight, receiver.status = QUIET, 200
    await ground.announcer.look(1000.0)
    assert receiver.bodies == []


def test_an_exposure_is_told_after_five_minutes_and_ends_when_nobody_is_left_so_long() -> None:
    """The count in a right plural; what cannot be seen now is not over."""
    told = {("exposure", "hidden")}
    assert news(set(), AnnouncedSight(exposed=1, exposed_s=EXPOSED_S - 1)) == []
    (begun,) = news(set(), AnnouncedSight(exposed=1, exposed_s=EXPOSED_S))
    assert begun.text.startswith("1 mentor who should be hidden may be on the public listing")
    assert news(told, AnnouncedSight(exposed=3, exposed_s=EXPOSED_S + 60)) == []
    assert news(told, AnnouncedSight(exposed=None)) == []
    assert [one.is_over for one in news(told, AnnouncedSight(exposed=0))] == [True]


def test_where_somebody_is_always_on_the_ordinary_way_a_second_exposure_is_told_too() -> None:
    """A busy fleet never counts none: the first one would be over never."""
    told = {("exposure", "hidden")}
    (over,) = news(told, AnnouncedSight(exposed=3, exposed_s=10.0))
    assert (over.is_over, over.text.startswith("no mentor is wrongly shown for 5 min")) == (
        True,
        True,
    )
    assert not news(told - {over.key}, AnnouncedSight(exposed=1, exposed_s=EXPOSED_S))[0].is_over


def test_a_missed_night_is_told_when_it_is_six_hours_overdue() -> None:
    """And again when it was made up for."""
    assert news(set(), AnnouncedSight(night_overdue_s=NIGHT_S - 1)) == []
    (begun,) = news(set(), AnnouncedSight(night_overdue_s=NIGHT_S))
    assert (begun.kind, "overdue by 6 h" in begun.text) == (AnnouncementKind.NIGHT, True)
    assert news({begun.key}, AnnouncedSight(night_overdue_s=None)) == []
    assert news({begun.key}, QUIET)[0].is_over


def test_each_form_has_the_text_where_its_reader_looks() -> None:
    """Slack's message, Teams' adaptive card, plain JSON."""
    (one,) = news(set(), HALTED)
    assert payload("slack", "HLF", one)["text"].startswith("*hlf-sync HLF: halt begun*\n")
    card = payload("teams", "HLF", one)["attachments"][0]
    assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert [block["text"] for block in card["content"]["body"]] == [
        "hlf-sync HLF: halt begun",
        one.text,
    ]
    assert payload("json", "HLF", one)["organization"] == "HLF"


@pytest.mark.parametrize("address", ["http://hooks.example.org/x", "hooks.example.org", "https://"])
def test_an_address_that_is_read_by_others_on_the_way_is_refused(address: str) -> None:
    """And not quoted: it is a secret."""
    with pytest.raises(SettingsError) as caught:
        Hook(address=lambda: address, form="json", organization="HLF").check()
    assert address not in str(caught.value).replace("https:// address", "")
    assert "HLF_SYNC_WEBHOOK_URL" in str(caught.value)


def test_it_is_off_by_default_and_its_address_may_lie_in_a_file(tmp_path: Any) -> None:
    """As each secret."""
    assert load(environ={}).secret("webhook_url") == ""
    file = tmp_path / "hook"
    file.write_text("https://hooks.example.org/services/x\n")
    found = load(environ={"HLF_SYNC_WEBHOOK_URL_FILE": str(file), "HLF_SYNC_WEBHOOK_FORM": "Slack"})
    assert found.secret("webhook_url") == "https://hooks.example.org/services/x"
    assert found.webhook_form == "slack"


@pytest.mark.postgres
async def test_another_leader_does_not_tell_it_again(cluster: Cluster, database: str) -> None:
    """What was told is kept in the database, until it is over."""
    (begun,) = news(set(), HALTED)
    async with open_pool(cluster.dsn(database, "hlf_sync"), size=1) as pool:
        await announced.note(pool, begun)
        await announced.note(pool, begun)
        assert await announced.told(pool) == {("halt", "auth")}
        (ended,) = news(await announced.told(pool), QUIET)
        await announced.note(pool, ended)
        assert await announced.told(pool) == set()
