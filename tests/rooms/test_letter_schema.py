"""The letters' schema may grow, and never breaks: every version that was ever released reads every
other one's letters.

tests/fixtures/letter_schemas keeps the released versions. A change of schemas/dead_letter.avsc goes
along with the next number there; none is edited.
"""

import io
import json
from itertools import product
from pathlib import Path
from typing import Any

import fastavro
import httpx
import pytest
from hlf_sync.core.dead_letter import DeadLetter, Source
from hlf_sync.core.model import LetterKind, MentorId, Operation, Trigger
from hlf_sync.decode.dead_letter_codec import decode, encode, schema_text
from hlf_sync.errors import DependencyError
from hlf_sync.registry.client import COMPATIBILITY, Registry
from hlf_sync.registry.schemas import register_guarded

pytestmark = pytest.mark.requirement("R40")

RELEASED = [
    json.loads(path.read_text())
    for path in sorted(
        Path(__file__).parents[1].glob("fixtures/letter_schemas/*.avsc"),
        key=lambda path: int(path.stem),
    )
]

LETTER = DeadLetter(
    "6f1a1f3c-0000-4000-8000-000000000001:4",
    LetterKind.EXHAUSTED,
    "server_error",
    "every attempt failed",
    Source("hlf.mentor.changes", 1, 2, 3, 4, "00", 5),
    6,
    "a-worker",
    MentorId("6f1a1f3c-0000-4000-8000-000000000001"),
    Operation.REMOVE,
    503,
    3,
    None,
    Trigger.STATUS_CHANGE,
    7,
    4,
)


def test_the_schema_is_the_last_released_one() -> None:
    """Whoever changes more than its words adds a version here, and the tests below say whether it
    may.
    """
    assert _wordless(json.loads(schema_text())) == _wordless(RELEASED[-1])


@pytest.mark.parametrize(("written", "read"), list(product(range(len(RELEASED)), repeat=2)))
def test_every_version_reads_every_other_ones_letters(written: int, read: int) -> None:
    """Letters stay for weeks, so old programs meet new letters, and new programs old ones."""
    fields = _read(encode(LETTER, 1)[5:], RELEASED[-1], RELEASED[-1])
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(RELEASED[written]), fields)
    again = _read(body.getvalue(), RELEASED[written], RELEASED[read])
    assert (again["id"], again["kind"], again["source"]["offset"]) == (LETTER.id, "exhausted", 2)


def test_our_reader_takes_the_letters_of_every_version() -> None:
    """As whole letters."""
    for released in RELEASED:
        fields = _read(encode(LETTER, 1)[5:], RELEASED[-1], RELEASED[-1])
        body = io.BytesIO()
        fastavro.schemaless_writer(body, fastavro.parse_schema(released), fields)
        assert decode(b"\0\0\0\0\1" + body.getvalue(), json.dumps(released)).id == LETTER.id


@pytest.mark.parametrize(
    ("level", "is_guarded"), [(COMPATIBILITY, True), ("NONE", False), (None, False)]
)
async def test_a_schema_is_registered_under_a_rule_that_is_set_and_verified(
    level: str | None, is_guarded: bool
) -> None:
    """First the rule, then the schema; a registry that does not let us set it holds no letter
    back.
    """
    asked: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path))
        if request.url.path.endswith("/versions"):
            return httpx.Response(200, json={"id": 42})
        if request.method == "PUT":
            return httpx.Response(200 if is_guarded else 403, json=json.loads(request.content))
        return (
            httpx.Response(404, json={"error_code": 40408})
            if level is None
            else httpx.Response(200, json={"compatibilityLevel": level})
        )

    async with Registry("http://registry", transport=httpx.MockTransport(answer)) as client:
        assert await register_guarded(client, "letters-value", "{}") == 42
        assert await client.guard("letters-value") is is_guarded
    assert asked[:3] == [
        ("PUT", "/config/letters-value"),
        ("GET", "/config/letters-value"),
        ("POST", "/subjects/letters-value/versions"),
    ]


async def test_a_registry_that_fails_while_the_rule_is_set_is_waited_for() -> None:
    """Not taken for a refusal."""
    async with Registry(
        "http://registry", transport=httpx.MockTransport(lambda _: httpx.Response(503, json={}))
    ) as client:
        with pytest.raises(DependencyError):
            await client.guard("letters-value")


def _wordless(schema: Any) -> Any:
    """Without what is written for people."""
    if isinstance(schema, dict):
        return {name: _wordless(value) for name, value in schema.items() if name != "doc"}
    return [_wordless(part) for part in schema] if isinstance(schema, list) else schema


def _read(body: bytes, writer: dict[str, Any], reader: dict[str, Any]) -> dict[str, Any]:
    found: Any = fastavro.schemaless_reader(
        io.BytesIO(body), fastavro.parse_schema(writer), fastavro.parse_schema(reader)
    )
    assert isinstance(found, dict)
    return found
