"""The registry's client on the sandbox's real registry: what rooms/test_registry.py claims of the
API, Apicurio does.
"""

import json
from collections.abc import AsyncIterator

import pytest
from hlf_sync.decode.dead_letter_codec import schema_text
from hlf_sync.decode.schema import SchemaCache, WriterSchema
from hlf_sync.errors import DeadLetterError
from hlf_sync.registry.client import Denied, Registry, SchemaText, Unreachable
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.bad_records import SCHEMAS, UNKNOWN_ID

pytestmark = pytest.mark.stack


@pytest.fixture
async def registry(stack: Sandbox) -> AsyncIterator[Registry]:
    """A client of the sandbox's registry."""
    async with Registry(stack.env["HLF_SYNC_SCHEMA_REGISTRY_URL"]) as client:
        await client.ping()
        yield client


async def test_the_letters_schema_has_one_id_however_often_it_is_registered(
    registry: Registry,
) -> None:
    """And is given out under it as it was given in."""
    first = await registry.register("a.test.letters-value", schema_text())
    assert first == await registry.register("a.test.letters-value", schema_text())
    fetched = await registry.fetch(first)
    assert isinstance(fetched, SchemaText)
    assert json.loads(schema_text()) == json.loads(fetched.text)


async def test_an_id_that_nobody_registered_is_denied(registry: Registry) -> None:
    """By the registry's own error code, which a wrong address does not have."""
    assert await registry.fetch(UNKNOWN_ID) == Denied()


async def test_a_wrong_address_is_no_denial(stack: Sandbox) -> None:
    """Else each record would become a dead letter after a while."""
    async with Registry(stack.env["HLF_SYNC_SCHEMA_REGISTRY_URL"] + "/nowhere") as client:
        assert isinstance(await client.fetch(1), Unreachable)


async def test_a_text_that_is_no_schema_is_refused(registry: Registry) -> None:
    """With an answer that is not taken for an outage."""
    with pytest.raises(DeadLetterError):
        await registry.register("a.test.nonsense-value", '{"type": "nonsense"}')


async def test_the_letters_schema_may_grow(registry: Registry) -> None:
    """By an optional field; and a new subject takes anything."""
    later = json.loads(schema_text())
    later["fields"].append({"name": "colour", "type": ["null", "string"], "default": None})
    assert await registry.is_compatible("a.test.new-value", schema_text())
    await registry.register("a.test.growing-value", schema_text())
    assert await registry.is_compatible("a.test.growing-value", json.dumps(later))


async def test_every_schema_of_the_corpus_goes_in_and_out(registry: Registry) -> None:
    """So that the bad records can be sent through the real topic."""
    cache = SchemaCache()
    for name, written in SCHEMAS.items():
        schema_id = await registry.register(f"a.test.{name.replace(' ', '-')}", written.text)
        fetched = await registry.fetch(schema_id)
        assert isinstance(fetched, SchemaText)
        assert isinstance(cache.add(schema_id, fetched.text), WriterSchema)
