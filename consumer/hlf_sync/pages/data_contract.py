"""docs/data-contract.json, an Open Data Contract (ODCS 3): `python -m hlf_sync.pages.data_contract >
docs/data-contract.json`. A test compares the two.

What the application owes hlf-sync (its tables, as connectors/sql/02_source.sql demands them) and what
hlf-sync gives to others (dead letters, reminders, by their Avro schemas). JSON, which every reader of
YAML reads.
"""

import json
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from hlf_sync.config.settings import Settings
from hlf_sync.core.decide import Rules
from hlf_sync.kafka.topics import read_topics
from hlf_sync.packaged import schema
from hlf_sync.pages.captured_tables import CapturedTable, PublishedColumn, captured_tables

_SETTINGS = Settings.model_validate({})
_RULES = Rules()
_APPLICATION = "app."
_MS_PER_DAY = 86_400_000
# R06: a certificate's end removes its mentor from the listing so late at the latest.
_EXPIRY_S = 60

# PostgreSQL's type → ODCS's logical one.
_LOGICAL = {
    "uuid": "string",
    "text": "string",
    "integer": "integer",
    "bigint": "integer",
    "date": "date",
    "timestamp with time zone": "timestamp",
}
_AVRO_LOGICAL = {"string": "string", "int": "integer", "long": "integer", "record": "object"}

_TABLES: Mapping[str, str] = {
    "app.mentor": (
        "One row per mentor, of every organisation; only our organisation's rows are streamed. An"
        " ordinary table: not partitioned, logged, without row-level security."
    ),
    "app.certification": (
        "The certifications of a mentor. The one that ends last and is not revoked decides."
    ),
    "hlf_sync.contact_mapping": "Which contact in Dynamics is a mentor's. Filled by the operator.",
    "hlf_sync.sync_request": "A wish that somebody be looked at, inserted by the application too.",
}
_COLUMNS: Mapping[str, str] = {
    "app.mentor.id": "The mentor. Never changes, never is given to somebody else.",
    "app.mentor.organization_code": "Exactly ours, or somebody else's.",
    "app.mentor.status": (
        f"{', '.join(sorted(_RULES.hidden_statuses))}: not listed."
        f" {', '.join(sorted(_RULES.visible_statuses))}: listed with a valid certificate."
        " Anything else, NULL too: no call, a dead letter that asks for investigation."
    ),
    "app.certification.id": "The certification.",
    "app.certification.mentor_id": "Whose it is.",
    "app.certification.status": "revoked: as if it were not there. Any other value does not matter.",
    "app.certification.expires_at": (
        "Until when it is valid; infinity means for ever. NULL is outside the contract: refused."
    ),
    "hlf_sync.contact_mapping.mentor_id": "The mentor.",
    "hlf_sync.sync_request.id": "Given by the database.",
    "hlf_sync.sync_request.mentor_id": "Who is to be looked at.",
    "hlf_sync.sync_request.triggered_by": "Why, as a word.",
    "hlf_sync.sync_request.dead_letter_id": "The letter that a replay is about.",
}


def document() -> dict[str, Any]:
    """The whole contract."""
    tables = captured_tables()
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": "hlf-sync",
        "name": "Portal visibility of HLF's mentors",
        "version": version("hlf-sync"),
        "status": "active",
        "description": {
            "purpose": (
                "What the application's database must hold so that the public listing follows it,"
                " and what hlf-sync tells other programs."
            ),
            "usage": "See connectors/README.md for the source, docs/asyncapi.json for the topics.",
            "limitations": (
                "No personal datum is streamed: names, addresses and notes are in no published"
                " column."
            ),
        },
        "servers": [
            {
                "server": "source",
                "type": "postgresql",
                "description": "The application's database, PostgreSQL 15 or later.",
                "host": "your-host",
                "port": 5432,
                "database": "your-database",
                "schema": "app",
            },
            {
                "server": "topics",
                "type": "kafka",
                "description": "HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS",
                "host": "your-host:9092",
                "format": "avro",
            },
        ],
        "schema": [
            *(_table(tables[name], said) for name, said in _TABLES.items()),
            _topic("dead_letters", _SETTINGS.dead_letters_topic, "dead_letter.avsc"),
            _topic("reminders", _SETTINGS.reminders_topic, "reminder.avsc"),
        ],
        "slaProperties": _promises(),
    }


def render() -> str:
    """The file."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _table(table: CapturedTable, said: str) -> dict[str, Any]:
    return {
        "name": table.name.partition(".")[2],
        "physicalName": table.name,
        "physicalType": "table",
        "logicalType": "object",
        "description": said,
        "tags": ["owed by the application" if table.name.startswith(_APPLICATION) else "ours"],
        "properties": [_column(table, column) for column in table.columns],
    }


def _column(table: CapturedTable, column: PublishedColumn) -> dict[str, Any]:
    kind = column.types[0]
    return {
        "name": column.name,
        "description": _COLUMNS[f"{table.name}.{column.name}"],
        "logicalType": _LOGICAL[kind],
        **({"logicalTypeOptions": {"format": "uuid"}} if kind == "uuid" else {}),
        "physicalType": " or ".join(column.types),
        "required": column.is_required,
        **({"primaryKey": True, "primaryKeyPosition": 1} if column.is_key else {}),
        "classification": "internal",
    }


def _topic(name: str, topic: str, file: str) -> dict[str, Any]:
    avro = json.loads(schema(file))
    return {
        "name": name,
        "physicalName": topic,
        "physicalType": "topic",
        "logicalType": "object",
        "description": avro["doc"],
        "tags": ["ours"],
        "properties": [_field(field) for field in avro["fields"]],
    }


def _field(field: Mapping[str, Any]) -> dict[str, Any]:
    """An Avro field; a record inside is an object with properties of its own."""
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    kind = next(kind for kind in kinds if kind != "null")
    name = kind["type"] if isinstance(kind, dict) else kind
    is_time = isinstance(kind, dict) and kind.get("logicalType") == "timestamp-millis"
    return {
        "name": field["name"],
        "description": field.get("doc", ""),
        "logicalType": "timestamp" if is_time else _AVRO_LOGICAL[name],
        "physicalType": name,
        "required": "null" not in kinds,
        "classification": "internal",
        **({"properties": [_field(part) for part in kind["fields"]]} if name == "record" else {}),
    }


def _promises() -> list[dict[str, Any]]:
    """How late at most, and how long what is told can be read."""
    retention = {
        topic.name: int(topic.config["retention.ms"]) // _MS_PER_DAY
        for topic in read_topics(
            changes_topic=_SETTINGS.changes_topic,
            dead_letters_topic=_SETTINGS.dead_letters_topic,
            reminders_topic=_SETTINGS.reminders_topic,
        )
        if "retention.ms" in topic.config
    }
    return [
        {
            "property": "latency",
            "value": _EXPIRY_S,
            "unit": "s",
            "element": "certification.expires_at",
            "description": "A certificate that ends takes its mentor off the listing within this.",
        },
        *(
            {"property": "retention", "value": retention[topic], "unit": "d", "element": element}
            for element, topic in (
                ("dead_letters", _SETTINGS.dead_letters_topic),
                ("reminders", _SETTINGS.reminders_topic),
            )
        ),
    ]


if __name__ == "__main__":
    sys.stdout.write(render())
