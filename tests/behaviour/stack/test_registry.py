"""A real Apicurio Registry by its Confluent-compatible interface, where it is other than one would
think. What leans on each: docs/behaviour.md.
"""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hlf_sync_sandbox.stack import Sandbox

pytestmark = [pytest.mark.stack, pytest.mark.behaviour, pytest.mark.timeout(240)]


@pytest.fixture
def asked(stack: Sandbox) -> Iterator[httpx.Client]:
    """The registry."""
    with httpx.Client(
        base_url=stack.env["HLF_SYNC_SCHEMA_REGISTRY_URL"], trust_env=False, timeout=30
    ) as client:
        yield client


def _colour(**more: object) -> dict[str, Any]:
    return {
        "type": "record",
        "name": f"Thing{uuid4().hex}",
        "fields": [
            {
                "name": "colour",
                "type": {"type": "enum", "name": "Colour", "symbols": ["BLUE", "RED"], **more},
            }
        ],
    }


def _registered(client: httpx.Client, subject: str, schema: dict[str, Any]) -> int:
    answer = client.post(f"/subjects/{subject}/versions", json={"schema": json.dumps(schema)})
    return int(answer.raise_for_status().json()["id"])


def _text(client: httpx.Client, schema_id: int) -> dict[str, Any]:
    answer = client.get(f"/schemas/ids/{schema_id}").raise_for_status()
    return dict(json.loads(answer.json()["schema"]))


@pytest.mark.parametrize(
    "change", [{"default": "BLUE"}, {"aliases": ["Color"]}], ids=["an enum's default", "an alias"]
)
def test_a_schema_that_differs_in_this_only_gets_the_old_id_and_the_old_text(
    asked: httpx.Client, change: dict[str, object]
) -> None:
    """Though both change what a reader makes of the bytes: so the letters' schema grows by fields."""
    subject = f"behaviour-{uuid4()}-value"
    first = _colour()
    changed = json.loads(json.dumps(first))
    changed["fields"][0]["type"].update(change)
    assert _registered(asked, subject, first) == (again := _registered(asked, subject, changed))
    assert _text(asked, again) == first
    assert len(asked.get(f"/subjects/{subject}/versions").json()) == 1


def test_a_schema_that_differs_by_a_field_gets_an_id_of_its_own(asked: httpx.Client) -> None:
    """The way that is left."""
    subject = f"behaviour-{uuid4()}-value"
    first = _colour()
    grown = json.loads(json.dumps(first))
    grown["fields"].append({"name": "size", "type": ["null", "string"], "default": None})
    one, two = (_registered(asked, subject, schema) for schema in (first, grown))
    assert one != two
    assert _text(asked, two) == grown
