"""Which partition of the changes topic holds a mentor's records: the Java producer's default,
murmur2 of the key.

Kafka Connect writes the changes (org.apache.kafka.common.utils.Utils.murmur2, toPositive);
librdkafka calls it `murmur2_random`. Pure; used by `why` and `reconcile` to look in one partition
instead of twelve. Nothing is ever written by it.
"""

from hlf_sync.core.model import MentorId

_SEED = 0x9747B28C
_M = 0x5BD1E995
_R = 24
_WORD = 0xFFFF_FFFF
_POSITIVE = 0x7FFF_FFFF


def partition_of(mentor_id: MentorId, partitions: int) -> int:
    """The partition of the mentor's records in a topic with so many partitions (1 or more)."""
    return (murmur2(mentor_id.encode()) & _POSITIVE) % partitions


def murmur2(key: bytes) -> int:
    """The 32-bit hash, unsigned."""
    value = (_SEED ^ len(key)) & _WORD
    whole = len(key) & ~3
    for start in range(0, whole, 4):
        word = int.from_bytes(key[start : start + 4], "little") * _M & _WORD
        word = (word ^ word >> _R) * _M & _WORD
        value = value * _M & _WORD ^ word
    if whole < len(key):
        value = (value ^ int.from_bytes(key[whole:], "little")) * _M & _WORD
    value = (value ^ value >> 13) * _M & _WORD
    return value ^ value >> 15
