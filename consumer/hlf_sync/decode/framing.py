"""Confluent's framing: magic byte 0, the schema's id as a big-endian 32-bit integer, then Avro.
Called by the decoder and the letter codec's tests.

A newer client can put a schema GUID into a header instead: such a value begins with another byte,
and is refused like any other.
"""

from hlf_sync.core.model import Undecodable

HEADER_BYTES = 5
"""Magic and schema id."""

LARGEST_VALUE_BYTES = 1 << 20
"""Kafka's default for the largest record. A row change has about 230 bytes; what is larger than this is not read at all."""


def schema_id_of(value: bytes) -> int | Undecodable:
    """The id of the schema that the value was written with."""
    if len(value) > LARGEST_VALUE_BYTES:
        return Undecodable("decode_error", f"the value is larger than {LARGEST_VALUE_BYTES} bytes")
    if not value:
        return Undecodable("decode_error", "the value is empty")
    if value[0] != 0:
        return Undecodable("decode_error", "the value does not begin with the magic byte 0")
    if len(value) < HEADER_BYTES:
        return Undecodable("decode_error", "the value ends within its schema id")
    schema_id = int.from_bytes(value[1:HEADER_BYTES], "big", signed=True)
    if schema_id <= 0:
        return Undecodable(
            "decode_error", "no registry gives out such a schema id", schema_id=schema_id
        )
    return schema_id
