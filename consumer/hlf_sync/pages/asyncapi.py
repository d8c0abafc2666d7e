"""docs/asyncapi.json, the topics for neighbours as an AsyncAPI 3 document: `python -m
hlf_sync.pages.asyncapi > docs/asyncapi.json`. A test compares the two.

Made of connectors/topics.json (partitions, retention, why), schemas/ (dead letters, reminders), the
published columns of connectors/sql/02_source.sql (changes) and the connector's routes.
"""

import json
import re
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from hlf_sync.config.settings import Settings
from hlf_sync.kafka.topics import Topic, read_topics
from hlf_sync.packaged import fill, read, schema
from hlf_sync.pages.captured_tables import CapturedTable, PublishedColumn, captured_tables

_AVRO = "application/vnd.apache.avro+json;version=1.9.0"
_BINDING = "0.5.0"
_SETTINGS = Settings.model_validate({})
_PREFIX = "hlf"
_ROUTES = ("route", "routeReminder")
# Channel → what its messages are, where no captured table says it.
_SCHEMAS = {"dead_letters_topic": "dead_letter.avsc", "reminders_topic": "reminder.avsc"}
_MENTOR_KEY = {
    "type": "string",
    "format": "uuid",
    "description": "The mentor's UUID, lower case: all of one mentor's records are in one partition.",
}
# Debezium's Avro types of PostgreSQL's; what is not here is text.
_AVRO_TYPES = {"integer": "int", "bigint": "long"}
_NUMBERS = {"retention.ms", "retention.bytes"}
_PLACES = {
    "changes_topic": _SETTINGS.changes_topic,
    "dead_letters_topic": _SETTINGS.dead_letters_topic,
    "reminders_topic": _SETTINGS.reminders_topic,
}
_OPERATIONS = {
    "readChanges": ("receive", "changes_topic", "Workers, as the group `hlf-sync`."),
    "writeDeadLetters": (
        "send",
        "dead_letters_topic",
        "Workers: what they gave up, acknowledged by all replicas before it counts.",
    ),
    "readDeadLetters": (
        "receive",
        "dead_letters_topic",
        "`hlf-sync replay`, as the group `hlf-sync-replay`.",
    ),
    "writeReminders": (
        "send",
        "reminders_topic",
        "The connector, from rows that the nightly run writes. For the application to read.",
    ),
}


def document() -> dict[str, Any]:
    """The whole document."""
    wanted = read_topics(
        changes_topic=_SETTINGS.changes_topic,
        dead_letters_topic=_SETTINGS.dead_letters_topic,
        reminders_topic=_SETTINGS.reminders_topic,
    )
    whys = {fill(entry["name"], _PLACES): entry["why"] for entry in json.loads(read("topics.json"))}
    messages = _messages()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "hlf-sync: topics",
            "version": version("hlf-sync"),
            "description": (
                "What hlf-sync reads and writes in Kafka. Values are Avro in Confluent's framing"
                " (a zero byte, the registry's id in four bytes, the record). No record holds a"
                " personal datum."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/vnd.apache.avro",
        "servers": {
            "kafka": {
                "host": "{bootstrap}",
                "protocol": "kafka-secure",
                "description": "HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS",
                "variables": {"bootstrap": {"description": "A broker, as host:port."}},
            }
        },
        "channels": {
            _channel_id(topic.name): _channel(topic, whys[topic.name], messages) for topic in wanted
        },
        "operations": {
            name: _operation(action, _PLACES[place], said)
            for name, (action, place, said) in _OPERATIONS.items()
        },
        "components": {"messages": {name: message for name, (_, message) in messages.items()}},
    }


def envelope(table: CapturedTable) -> dict[str, Any]:
    """What a reader needs of a table's change, as Debezium's Avro converter names it. A record holds
    more (Debezium's own fields); Avro readers leave that out.
    """
    value = {
        "type": "record",
        "name": "Value",
        "namespace": f"{_PREFIX}.{table.name}",
        "fields": [_field(column) for column in table.columns],
    }
    source = {
        "type": "record",
        "name": "Source",
        "namespace": "io.debezium.connector.postgresql",
        "fields": [
            {"name": "ts_ms", "type": "long", "doc": "When the change was committed."},
            {"name": "db", "type": "string"},
            {"name": "schema", "type": "string"},
            {"name": "table", "type": "string"},
            {"name": "txId", "type": ["null", "long"], "default": None},
        ],
    }
    return {
        "type": "record",
        "name": "Envelope",
        "namespace": f"{_PREFIX}.{table.name}",
        "fields": [
            {"name": "before", "type": ["null", value], "default": None},
            {"name": "after", "type": ["null", f"{_PREFIX}.{table.name}.Value"], "default": None},
            {"name": "source", "type": source},
            {"name": "op", "type": "string", "doc": "c, u, d, r (snapshot) or t (truncate)."},
        ],
    }


def topic_of(table: str) -> str:
    """Where the connector sends a table's records."""
    config = json.loads(read("hlf-mentor-cdc.json"))["config"]
    for name in _ROUTES:
        if re.fullmatch(config[f"transforms.{name}.regex"], f"{_PREFIX}.{table}"):
            return fill(config[f"transforms.{name}.replacement"], _PLACES)
    return f"{_PREFIX}.{table}"


def render() -> str:
    """The file."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _field(column: PublishedColumn) -> dict[str, Any]:
    kind = _AVRO_TYPES.get(column.types[0], "string")
    if column.is_required:
        return {"name": column.name, "type": kind}
    return {"name": column.name, "type": ["null", kind], "default": None}


def _messages() -> dict[str, tuple[str, dict[str, Any]]]:
    """Name → its topic and the message."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for place, file in _SCHEMAS.items():
        text = json.loads(schema(file))
        found[_camel(file.partition(".")[0])] = (_PLACES[place], _message(text["doc"], text))
    for table in captured_tables().values():
        topic = topic_of(table.name)
        if topic == _SETTINGS.reminders_topic:
            continue
        only = f", of rows whose {table.filter_column} is ours" if table.filter_column else ""
        said = f"A change of {table.name}{only}: which mentor to look at, not what to do."
        found[_camel(table.name.partition(".")[2])] = (topic, _message(said, envelope(table)))
    return found


def _message(description: str, avro: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "contentType": "application/vnd.apache.avro",
        "description": description,
        "payload": {"schemaFormat": _AVRO, "schema": avro},
        "bindings": {
            "kafka": {
                "key": _MENTOR_KEY,
                "schemaIdLocation": "payload",
                "schemaIdPayloadEncoding": "confluent",
                "bindingVersion": _BINDING,
            }
        },
    }


def _channel(
    topic: Topic, why: str, messages: Mapping[str, tuple[str, dict[str, Any]]]
) -> dict[str, Any]:
    own = [name for name, (place, _) in messages.items() if place == topic.name]
    return {
        "address": topic.name,
        "description": why,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in own},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "replicas": topic.replicas,
                "topicConfiguration": {
                    name: _configured(name, value) for name, value in topic.config.items()
                },
                "bindingVersion": _BINDING,
            }
        },
    }


def _configured(name: str, value: str) -> str | int | list[str]:
    if name == "cleanup.policy":
        return value.split(",")
    return int(value) if name in _NUMBERS else value


def _operation(action: str, topic: str, said: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{_channel_id(topic)}"},
        "description": said,
    }


def _channel_id(topic: str) -> str:
    """Letters, digits and underscores alone: it stands in a JSON pointer."""
    return re.sub(r"\W+", "_", topic).strip("_")


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


if __name__ == "__main__":
    sys.stdout.write(render())
