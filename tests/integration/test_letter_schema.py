"""The rule of the letters' subject in the sandbox's real registry: optional fields may come,
nothing else may change.
"""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from hlf_sync.decode.dead_letter_codec import schema_text
from hlf_sync.errors import DeadLetterError
from hlf_sync.registry.client import Registry
from hlf_sync.registry.schemas import register_guarded
from hlf_sync_sandbox.stack import Sandbox

pytestmark = [pytest.mark.stack, pytest.mark.requirement("R40")]


async def test_the_registry_takes_an_optional_field_and_refuses_what_breaks_a_reader(
    stack: Sandbox,
) -> None:
    """A required field more, an optional one less, another type."""
    subject = f"test-{uuid4()}-value"
    async with Registry(stack.env["HLF_SYNC_SCHEMA_REGISTRY_URL"]) as client:
        assert await client.guard(subject)
        first = await register_guarded(client, subject, schema_text())
        assert first == await register_guarded(client, subject, schema_text())
        changes: tuple[Callable[[list[Any]], list[Any]], ...] = (
            lambda fields: [*fields, {"name": "colour", "type": "string"}],
            lambda fields: [field for field in fields if field["name"] != "reason"],
            lambda fields: [
                field | {"type": "string"} if field["name"] == "attempt_count" else field
                for field in fields
            ],
        )
        for change in changes:
            broken = json.loads(schema_text())
            broken["fields"] = change(broken["fields"])
            assert not await client.is_compatible(subject, json.dumps(broken))
            with pytest.raises(DeadLetterError):
                await client.register(subject, json.dumps(broken))
        grown = json.loads(schema_text())
        grown["fields"].append({"name": "colour", "type": ["null", "string"], "default": None})
        assert await client.is_compatible(subject, json.dumps(grown))
        assert await client.register(subject, json.dumps(grown)) != first
