"""The documents for neighbours: docs/asyncapi.json and docs/data-contract.json say what topics.json,
schemas/ and the SQL say, in the standards' own words.
"""

import base64
import gzip
import io
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hlf_sync.pages import asyncapi, data_contract
from hlf_sync.pages.captured_tables import captured_tables
from jsonschema import validators

_ROOT = Path(__file__).parents[2]
_FIXTURES = _ROOT / "tests/fixtures"


def _violations(document: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    validator = validators.validator_for(schema)(schema)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def test_the_files_are_what_the_program_prints() -> None:
    """Print them again after a change: `make docs`."""
    for name, render in (
        ("asyncapi.json", asyncapi.render),
        ("data-contract.json", data_contract.render),
    ):
        assert (_ROOT / "docs" / name).read_text(encoding="utf-8") == render(), name


def test_the_topics_document_is_asyncapi_3() -> None:
    """By the standard's own schema (Apache-2.0, of its npm package @asyncapi/specs 6.11.1)."""
    packed = (_FIXTURES / "asyncapi-3.0.0.schema.json.gz").read_bytes()
    assert _violations(asyncapi.document(), json.loads(gzip.decompress(packed))) == []


def test_the_contract_is_an_open_data_contract() -> None:
    """By the standard's own schema."""
    schema = files("open_data_contract_standard") / "schema.json"
    assert _violations(data_contract.document(), json.loads(schema.read_text("utf-8"))) == []


def test_every_topic_has_a_channel_with_its_settings() -> None:
    """connectors/topics.json."""
    topics = json.loads((_ROOT / "connectors/topics.json").read_text(encoding="utf-8"))
    channels = asyncapi.document()["channels"].values()
    assert len(channels) == len(topics)
    for topic, channel in zip(topics, channels, strict=True):
        binding = channel["bindings"]["kafka"]
        assert (binding["partitions"], binding["replicas"], channel["description"]) == (
            topic["partitions"],
            topic["replicas"],
            topic["why"],
        )
        assert binding["topicConfiguration"].keys() == topic["config"].keys()


@pytest.mark.requirement("R01", "R82")
def test_the_published_columns_are_those_that_the_connector_captures() -> None:
    """Publication and connector name them each for itself; the documents follow the publication."""
    config = json.loads((_ROOT / "connectors/hlf-mentor-cdc.json").read_text())["config"]
    tables = captured_tables()
    assert set(config["table.include.list"].split(",")) == tables.keys()
    included = re.compile(config["column.include.list"].replace(",", "|"))
    for table in tables.values():
        assert table.columns
        assert all(included.fullmatch(f"{table.name}.{column.name}") for column in table.columns)


def test_a_reader_with_the_documents_schemas_reads_what_debezium_wrote() -> None:
    """Records captured from the real connector, resolved by Avro's own rules."""
    captured = json.loads((_FIXTURES / "captured.json").read_text(encoding="utf-8"))
    schemas = {
        f"{namespace}": message["payload"]["schema"]
        for message in asyncapi.document()["components"]["messages"].values()
        if (namespace := message["payload"]["schema"]["namespace"]).startswith("hlf.")
    }
    seen = set()
    for record in captured["records"]:
        value = base64.b64decode(record["value"] or "")
        if not value:
            continue
        writer = json.loads(captured["schemas"][str(int.from_bytes(value[1:5], "big"))])
        reader = schemas.get(writer.get("namespace"))
        if reader is None:
            continue
        found: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), writer, reader)
        seen.add(f"{found['source']['schema']}.{found['source']['table']}")
        assert found["op"] in {"c", "u", "d", "r", "t"}
        assert (
            asyncapi.topic_of(f"{found['source']['schema']}.{found['source']['table']}")
            == (record["topic"])
        )
    assert seen >= {"app.mentor", "app.certification", "hlf_sync.sync_request"}


def test_no_document_names_a_column_that_is_not_published() -> None:
    """Least of all a personal one."""
    text = asyncapi.render() + data_contract.render()
    for name in ("full_name", "email", "phone", "requested_by"):
        assert f'"{name}"' not in text
