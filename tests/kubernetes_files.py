"""What deploy/kubernetes repeats of other files, in Kubernetes' words: rules, topics, connector.
Written by `python -m tests.kubernetes_files`; tests/rooms/test_kubernetes.py finds drift.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from hlf_sync.config.settings import Settings
from hlf_sync.connect.connector import places, read_connector
from hlf_sync.kafka.topics import Topic, read_topics

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy/kubernetes"
RULES = ROOT / "deploy/monitoring/prometheus"
# Where deploy/kubernetes/overlays/strimzi/connect.yaml mounts it.
SOURCE_FILE = "/mnt/hlf-source/source.properties"

_STRIMZI = "kafka.strimzi.io/v1"
_CLUSTER = {"strimzi.io/cluster": "hlf"}
_CONNECT = {"strimzi.io/cluster": "hlf-connect"}
# Kafka Connect's own, which it would make itself if it might: topic → partitions.
_OF_CONNECT = {"hlf-connect-configs": 1, "hlf-connect-offsets": 1, "hlf-connect-status": 1}
_REPLICAS = 3

_SETTINGS = Settings.model_validate({})


def files() -> dict[Path, str]:
    """Every generated file and what should be in it."""
    return {
        FOLDER / "components/monitoring/prometheusrule.yaml": _written(
            "deploy/monitoring/prometheus/*.yml", rules()
        ),
        FOLDER / "overlays/strimzi/topics.yaml": _written("connectors/topics.json", *topics()),
        FOLDER / "overlays/strimzi/connector.yaml": _written(
            "connectors/hlf-mentor-cdc.json", connector()
        ),
    }


def rules() -> dict[str, Any]:
    """Recording rules and alerts as one PrometheusRule."""
    groups = [
        group
        for name in ("hlf-sync.rules.yml", "hlf-sync.alerts.yml")
        for group in yaml.safe_load((RULES / name).read_text(encoding="utf-8"))["groups"]
    ]
    return _resource("monitoring.coreos.com/v1", "PrometheusRule", "hlf-sync", {"groups": groups})


def topics() -> list[dict[str, Any]]:
    """Ours, and those of Kafka Connect."""
    ours = read_topics(
        changes_topic=_SETTINGS.changes_topic,
        dead_letters_topic=_SETTINGS.dead_letters_topic,
        reminders_topic=_SETTINGS.reminders_topic,
    )
    return [_topic(topic) for topic in (*ours, *_of_connect())]


def connector() -> dict[str, Any]:
    """The packaged connector; class and tasks have fields of their own."""
    found = read_connector(
        None,
        places(
            organization=_SETTINGS.organization,
            changes_topic=_SETTINGS.changes_topic,
            reminders_topic=_SETTINGS.reminders_topic,
            source_file=SOURCE_FILE,
        ),
    )
    config = dict(found.config)
    spec = {
        "class": config.pop("connector.class"),
        "tasksMax": int(config.pop("tasks.max")),
        "config": config,
    }
    return _resource(_STRIMZI, "KafkaConnector", found.name, spec, _CONNECT)


def _of_connect() -> list[Topic]:
    config = {"cleanup.policy": "compact", "min.insync.replicas": "2"}
    return [Topic(name, count, _REPLICAS, config) for name, count in _OF_CONNECT.items()]


def _topic(topic: Topic) -> dict[str, Any]:
    spec = {
        "topicName": topic.name,
        "partitions": topic.partitions,
        "replicas": topic.replicas,
        "config": dict(topic.config),
    }
    # Kubernetes' names have no underscores.
    name = topic.name.strip("_").replace("_", "-")
    return _resource(_STRIMZI, "KafkaTopic", name, spec, _CLUSTER)


def _resource(
    version: str,
    kind: str,
    name: str,
    spec: Mapping[str, Any],
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    metadata = {"name": name} | ({"labels": dict(labels)} if labels else {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": dict(spec)}


def _written(source: str, *resources: dict[str, Any]) -> str:
    head = f"# Generated from {source} by `python -m tests.kubernetes_files`; do not edit.\n"
    # Through JSON, so that nothing is written as a reference to something above.
    return head + str(
        yaml.safe_dump_all(
            json.loads(json.dumps(resources)), sort_keys=False, width=1000, allow_unicode=True
        )
    )


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
