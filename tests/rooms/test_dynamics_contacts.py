"""The emulator's contacts: upsert semantics, versions, alternate keys, and the log that keeps
them.
"""

from pathlib import Path
from random import Random

from hlf_sync_sandbox.dynamics.contact_log import replay
from hlf_sync_sandbox.dynamics.contacts import ById, ByKey, Contacts, Precondition, Refusal, Written
from hlf_sync_sandbox.dynamics.faults import Fault, Script, Seen
from hlf_sync_sandbox.dynamics.holds import Holds
from hlf_sync_sandbox.dynamics.journal import last_seq_of
from hlf_sync_sandbox.dynamics.multipart import Malformed, read_batch
from hlf_sync_sandbox.dynamics.overlaps import Overlaps
from hlf_sync_sandbox.dynamics.servers import Servers
from hypothesis import given
from hypothesis import strategies as st

ONE = "6f1a1f3c-0000-4000-8000-000000000001"
MUST_EXIST = Precondition(must_exist=True)


def test_an_upsert_creates_and_if_match_does_not() -> None:
    """The trap and its remedy."""
    contacts = Contacts()
    assert contacts.write(ById(ONE), {}, MUST_EXIST, 1) is Refusal.MISSING
    written = contacts.write(ById(ONE), {}, Precondition(), 1)
    assert isinstance(written, Written)
    assert written.created is True
    assert contacts.write(ById(ONE), {}, Precondition(must_not_exist=True), 1) is Refusal.EXISTS


def test_a_stale_version_is_refused_and_every_write_raises_it() -> None:
    """An equal value too."""
    contacts = Contacts()
    contacts.write(ById(ONE), {}, Precondition(), 1)
    version = contacts.by_id[ONE].version
    assert isinstance(
        contacts.write(ById(ONE), {}, Precondition(must_exist=True, version=str(version)), 2),
        Written,
    )
    assert contacts.by_id[ONE].version > version
    assert (
        contacts.write(ById(ONE), {}, Precondition(must_exist=True, version=str(version)), 3)
        is Refusal.VERSION_DIFFERS
    )


def test_an_alternate_key_finds_its_row_moves_with_it_and_is_unique() -> None:
    """Changed, freed by a removal, refused when taken."""
    contacts = Contacts()
    contacts.write(ByKey("new_mentorref", "a"), {}, Precondition(), 1)
    contacts.write(ById(ONE), {"new_mentorref": "b"}, Precondition(), 1)
    assert contacts.write(ById(ONE), {"new_mentorref": "a"}, Precondition(), 1) is Refusal.KEY_TAKEN
    contacts.write(ById(ONE), {"new_mentorref": "c"}, Precondition(), 1)
    assert contacts.find(ByKey("new_mentorref", "b")) is None
    assert contacts.find(ByKey("new_mentorref", "c")) is contacts.by_id[ONE]
    assert contacts.remove(ONE) is True
    assert contacts.find(ByKey("new_mentorref", "c")) is None


def test_the_last_line_of_a_row_counts_and_a_deletion_deletes() -> None:
    """The log folds."""
    lines = b'["a",1,0,0,{}]\n["b",2,0,0,{}]\n["a",3,0,9,{"x":true}]\n["b",null]\n'
    assert [(row.contact_id, row.version, row.columns) for row in replay(lines)] == [
        ("a", 3, {"x": True})
    ]


@given(st.binary(max_size=300), st.integers(0, 40))
def test_any_bytes_in_a_log_are_survived(noise: bytes, cut: int) -> None:
    """What is not a line of ours is left out; what is before it stays."""
    good = b'["a",1,0,0,{}]\n'
    assert isinstance(replay(noise), list)
    assert len(replay(good + good[: cut % len(good)])) == 1


def test_the_first_fault_that_matches_strikes_and_nth_counts_every_match() -> None:
    """Whoever strikes, the others count."""
    script = Script()
    script.add([Fault(status=503, times=2), Fault(status=500, nth=3)])
    seen = Seen("api", "PATCH", ONE)
    struck = [armed.fault.status if (armed := script.match(seen)) else None for _ in range(4)]
    assert struck == [503, 503, 500, None]


def test_overlaps_tell_waiting_clients_from_effects_still_to_come() -> None:
    """Both counts, back to nothing at the end."""
    overlaps = Overlaps()
    assert overlaps.begin(ONE) == (0, 0)
    assert overlaps.begin(ONE) == (1, 0)
    overlaps.client_left(ONE)
    overlaps.effect_remains(ONE)
    assert overlaps.begin(ONE) == (1, 1)
    overlaps.client_left(ONE)
    overlaps.client_left(ONE)
    overlaps.settled(ONE)
    assert overlaps.begin(ONE) == (0, 0)


def test_the_cookie_pins_to_a_server_that_is_there() -> None:
    """A server that is gone pins nobody."""
    servers = Servers("org", Random(1))  # noqa: S311 - which server answers
    cookie = servers.set_cookie(3).partition(";")[0]
    assert servers.choose(cookie, 4) == 3
    assert servers.pinned(cookie, 3) is None
    assert servers.pinned("ARRAffinity=zz", 4) is None


@given(
    st.binary(max_size=300),
    st.sampled_from(
        ["", "multipart/mixed", "multipart/mixed; boundary=b", 'multipart/mixed;boundary="b"']
    ),
)
def test_any_batch_is_read_or_malformed(body: bytes, content_type: str) -> None:
    """Never another exception."""
    for stream in (body, b"--b\r\n" + body + b"\r\n--b--\r\n"):
        try:
            read_batch(content_type, stream)
        except Malformed:
            continue


async def test_holds_release_by_name() -> None:
    """Nobody waits under another name."""
    assert Holds().release("nobody") == 0


def test_the_journal_goes_on_where_a_torn_file_ends(tmp_path: Path) -> None:
    """Numbers never repeat."""
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"seq":7}\n{"seq":9}\n{"seq":1')
    assert last_seq_of(path) == 9
