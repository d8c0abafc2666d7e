"""The anchor's topic where its clients cannot be made: no reason to end a worker."""

import pytest
from hlf_sync.errors import DependencyError
from hlf_sync.kafka.anchor_topic import AnchorTopic

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
