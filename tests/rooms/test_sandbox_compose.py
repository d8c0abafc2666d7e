"""docker-compose.yml, which nothing here runs, must not fall behind the sandbox."""

import re
from pathlib import Path

from hlf_sync_sandbox import jars
from hlf_sync_sandbox.parts import connect, kafka

TEXT = (Path(__file__).parents[2] / "docker-compose.yml").read_text(encoding="utf-8")


def test_the_images_have_the_versions_of_the_lock_file() -> None:
    """Kafka and Connect, the registry; the plug-ins by what the comment asks for."""
    locked = jars.load()
    kafka_version = next(jar.version for jar in locked["kafka"] if jar.artifact == "kafka_2.13")
    assert set(re.findall(r"image: apache/kafka:(\S+)", TEXT)) == {kafka_version}
    assert f"apicurio-registry:{locked['registry'][0].version}" in TEXT
    assert f"Debezium {locked['debezium'][0].version}" in TEXT
    assert f"converter {locked['converter'][0].version}" in TEXT
    assert "image: postgres:18.4" in TEXT


def test_the_settings_that_tests_rely_on_are_the_same() -> None:
    """Sessions, rebalances, topics; what a connector may override."""
    for name in (
        "group.consumer.session.timeout.ms",
        "group.initial.rebalance.delay.ms",
        "auto.create.topics.enable",
    ):
        assert f'KAFKA_{name.upper().replace(".", "_")}: "{kafka._SETTINGS[name]}"' in TEXT
    for name in (
        "group.id",
        "connector.client.config.override.allowlist",
        "offset.flush.interval.ms",
    ):
        assert f"{name}={connect._SETTINGS[name]}\n" in TEXT


def test_only_the_loopback_interface_is_opened() -> None:
    """Connect's port equals code execution."""
    published = re.findall(r'ports: \["([^"]+)"\]', TEXT)
    assert len(published) == 4
    assert all(port.startswith("127.0.0.1:") for port in published)
