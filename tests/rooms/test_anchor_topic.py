"""Kafka's clients that a leader makes as it goes on, and that cannot be made: no reason to end it."""

from pathlib import Path

import pytest
from hlf_sync.errors import DependencyError
from hlf_sync.kafka.anchor_topic import AnchorTopic
from hlf_sync.kafka.lag_reader import LagReader

from tests.fixtures.certificates import certificate_pem, self_signed

pytestmark = pytest.mark.requirement("R67")


@pytest.mark.parametrize("call", ["newest", "keep"])
async def test_a_certificates_file_that_went_away_is_a_dependency_and_no_crash(call: str) -> None:
    """The leader would end, and after it whoever leads next."""
    options = {
        "bootstrap.servers": "127.0.0.1:1",
        "security.protocol": "ssl",
        "ssl.ca.location": "/nowhere/ca.pem",
    }
    topic = AnchorTopic(options, "hlf.mentor.source")
    with pytest.raises(DependencyError):
        await (topic.newest() if call == "newest" else topic.keep(b"{}"))


async def test_a_monitor_whose_certificates_file_went_away_waits(tmp_path: Path) -> None:
    """Its consumer is made at the first question, long after the options were taken."""
    ca = tmp_path / "ca.pem"
    ca.write_bytes(certificate_pem(self_signed()[1]))
    options = {
        "bootstrap.servers": "127.0.0.1:1",
        "security.protocol": "ssl",
        "ssl.ca.location": str(ca),
    }
    reader = LagReader(options, "topic", "group")
    ca.unlink()
    with pytest.raises(DependencyError):
        reader._committed([0])
