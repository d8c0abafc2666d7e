"""The partition of a key, as Kafka's Java producer chooses it."""

import pytest
from hlf_sync.core.model import MentorId
from hlf_sync.kafka.partitioner import murmur2, partition_of
from hypothesis import given
from hypothesis import strategies as st

# org.apache.kafka.common.utils.UtilsTest.testMurmur2
KAFKAS_OWN = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize("key", KAFKAS_OWN, ids=lambda key: key.decode())
def test_the_hash_is_kafkas(key: bytes) -> None:
    """As Kafka's own test has it, signed."""
    found = murmur2(key)
    assert (found - (1 << 32) if found >= 1 << 31 else found) == KAFKAS_OWN[key]


@given(st.uuids(), st.integers(1, 100))
def test_a_partition_exists(mentor: object, partitions: int) -> None:
    """Whatever the key."""
    assert 0 <= partition_of(MentorId(str(mentor)), partitions) < partitions
