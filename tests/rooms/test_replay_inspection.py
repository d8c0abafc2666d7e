"""A source record described by its pointer: sizes, framing, schema, what is wrong today; never a
value.
"""

import json
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from hlf_sync.core.dead_letter import DeadLetter, Source
from hlf_sync.core.model import LetterKind, Record
from hlf_sync.registry.client import Registry
from hlf_sync.replay import inspection
from hlf_sync.replay.inspection import Explained, describe
from hlf_sync.replay.judgement import Judgement, ReplayVerdict, letter_of
from hlf_sync.replay.letter_page import content, letter_page
from hlf_sync.replay.standings import Judged
from hlf_sync.replay.workplace import Workplace

from tests.fixtures.debezium import MENTOR, ROWS, body, envelope, envelope_schema, framed

pytestmark = pytest.mark.requirement("R47")

SCHEMA = envelope_schema("app.mentor")
GOOD = framed(7, body(SCHEMA, envelope("app.mentor", "u", after=ROWS["app.mentor"])))
CANARY = b"jane.doe@example.org"


def letter(value: bytes | None = None) -> DeadLetter:
    """The letter that was written about this value."""
    digest = None if value is None else sha256(value).hexdigest()
    return DeadLetter(
        "t-1-2",
        LetterKind.UNDECODABLE,
        "decode_error",
        "why",
        Source("t", 1, 2, 3, 7, digest, None),
        4,
        "w",
    )


def answer(status: int, content: object) -> httpx.AsyncBaseTransport:
    """A registry that says this of every schema."""
    return httpx.MockTransport(lambda _: httpx.Response(status, json=content))


KNOWN = answer(200, {"schema": json.dumps(SCHEMA)})


async def described(
    monkeypatch: pytest.MonkeyPatch,
    value: bytes | None,
    key: bytes | None = MENTOR.encode(),
    *,
    registry: httpx.AsyncBaseTransport = KNOWN,
    about: bytes | None = None,
) -> dict[str, Any]:
    """What is told of a record with this value."""
    monkeypatch.setattr(inspection, "fetch", lambda *_: Record(1, 2, key, value, 3))
    async with Registry("http://registry", transport=registry) as client:
        place: Any = SimpleNamespace(
            kafka={}, registry=client, settings=SimpleNamespace(organization="HLF")
        )
        return await describe(cast("Workplace", place), letter(value if about is None else about))


async def test_a_record_that_retention_took_is_told_as_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And nothing is guessed."""
    monkeypatch.setattr(inspection, "fetch", lambda *_: None)
    found = await describe(cast("Workplace", SimpleNamespace(kafka={})), letter())
    assert not found["found"]
    assert "retention" in found["why"]


@pytest.mark.parametrize(
    ("value", "framing", "now"),
    [
        (None, "tombstone", "ignored"),
        (b"", "empty", "still unreadable"),
        (CANARY, "magic byte", "still unreadable"),
        (framed(7, CANARY), "schema id 7", "still unreadable: decode_error"),
    ],
)
async def test_each_kind_of_poison_is_told_without_a_byte_of_it(
    monkeypatch: pytest.MonkeyPatch, value: bytes | None, framing: str, now: str
) -> None:
    """Sizes and what is wrong."""
    found = await described(monkeypatch, value)
    assert framing in found["framing"]
    assert now in found["now"]
    assert found["value_bytes"] == (None if value is None else len(value))
    assert found["key_bytes"] == len(MENTOR)
    assert "jane" not in str(found)


async def test_other_bytes_than_the_letter_saw_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The topic was created anew."""
    assert (await described(monkeypatch, GOOD))["is_same"] is True
    assert (await described(monkeypatch, GOOD, about=b"other"))["is_same"] is False


async def test_a_record_whose_schema_has_come_can_be_read_and_names_its_mentor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that somebody can ask for the mentor."""
    found = await described(monkeypatch, GOOD)
    assert found["schema"].startswith("known: hlf.app.mentor")
    assert found["mentor_id"] == MENTOR
    assert "hlf-sync force" in found["now"]


async def test_a_record_with_another_mentors_key_is_still_poison(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its letter said so, and so does today's decoder."""
    assert (
        "key_mismatch"
        in (await described(monkeypatch, GOOD, b"0c9a7c1e-2f58-4f6e-8a51-dd4f3f6a2a90"))["now"]
    )


@pytest.mark.parametrize(
    ("registry", "said"),
    [
        (answer(404, {"error_code": 40403}), "no such id"),
        (answer(503, {}), "cannot be asked"),
        (answer(200, {"schemaType": "JSON", "schema": "{}"}), "unusable"),
        (answer(200, {"schema": "{"}), "unusable"),
        (answer(200, {"schema": '"string"'}), "no record"),
    ],
)
async def test_what_the_registry_says_of_its_schema(
    monkeypatch: pytest.MonkeyPatch, registry: httpx.AsyncBaseTransport, said: str
) -> None:
    """Unknown, unusable, or not to be had now."""
    found = await described(monkeypatch, GOOD, registry=registry)
    assert said in found["schema"]
    assert "still unreadable" in found["now"]


async def test_a_page_says_what_to_do_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a person; scripts get the same as JSON."""
    record = await described(monkeypatch, CANARY)
    small = letter_of(letter(CANARY), 0, 5)
    judged = Judged(
        small, Judgement(ReplayVerdict.INVESTIGATE, "a record that cannot be read"), None
    )
    found = Explained(
        small,
        letter(CANARY),
        judged,
        [{"created_at": "now", "requested_by": "alice", "reason": "why"}],
        None,
        record,
    )
    page = letter_page(found)
    cells = [str(cell) for column in page.columns for cell in column.cells]
    assert any("hlf-sync replay close" in cell for cell in cells)
    assert any("alice" in cell for cell in cells)
    assert "jane" not in str(cells) + json.dumps(content(found))
    assert content(found)["letter"]["status"] == "requires_investigation"
