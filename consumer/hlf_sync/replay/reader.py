"""Records of the dead-letter topic → letters, by the schemas that they were written with. Called by
planning, the backlog and `show`.

What is not a letter (garbage, a schema that nobody knows) becomes a letter of no kind, named by its
position: it can neither be lost nor stop the rest.
"""

import re
from collections.abc import AsyncIterator, Mapping

from hlf_sync.core.dead_letter import DeadLetter, record_letter_id
from hlf_sync.core.model import Record
from hlf_sync.decode.dead_letter_codec import decode, schema_id_of
from hlf_sync.errors import DecodeError, DependencyError
from hlf_sync.kafka.dead_letter_topic import DeadLetterTopic, LetterExtent
from hlf_sync.registry.client import Denied, Registry, SchemaText, Unreachable, Unusable
from hlf_sync.replay.judgement import UNREADABLE, Letter, letter_of

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NOBODY = "00000000-0000-0000-0000-000000000000"


class LetterReader:
    """Reads letters; remembers the schemas it met."""

    def __init__(self, log: DeadLetterTopic, registry: Registry) -> None:
        self._log = log
        self._registry = registry
        self._schemas: dict[int, str | None] = {}

    async def letters(self, extents: Mapping[int, LetterExtent]) -> AsyncIterator[list[Letter]]:
        """The letters of these extents, in batches."""
        async for records in self._log.read(extents):
            yield [await self.letter(record) for record in records if record.value is not None]

    async def letter(self, record: Record) -> Letter:
        """What lies at this position."""
        found = await self.decode(record)
        if found is None or not _UUID.fullmatch(found.mentor_id or _NOBODY):
            identity = record_letter_id(self._log.topic, record.partition, record.offset)
            return Letter(
                record.partition, record.offset, identity, None, UNREADABLE, record.timestamp_ms
            )
        return letter_of(found, record.partition, record.offset)

    async def decode(self, record: Record) -> DeadLetter | None:
        """The whole letter; None when it is none."""
        value = record.value or b""
        try:
            schema = await self._schema(schema_id_of(value))
            return None if schema is None else decode(value, schema)
        except DecodeError:
            return None

    async def find(
        self, ids: set[str], extents: Mapping[int, LetterExtent]
    ) -> dict[str, tuple[Letter, DeadLetter | None]]:
        """The first letter of each id. Looks for the ids' bytes before it decodes, so that a full
        topic is searched quickly.
        """
        wanted = {identity: identity.encode() for identity in ids}
        found: dict[str, tuple[Letter, DeadLetter | None]] = {}
        async for records in self._log.read(extents):
            for record in records:
                here = record_letter_id(self._log.topic, record.partition, record.offset)
                value = record.value or b""
                if here not in wanted and not any(text in value for text in wanted.values()):
                    continue
                letter = await self.letter(record)
                if letter.id in wanted and letter.id not in found:
                    found[letter.id] = (letter, await self.decode(record))
            if len(found) == len(ids):
                break
        return found

    async def _schema(self, schema_id: int) -> str | None:
        """The writer's schema; None where the registry has none. Raises `DependencyError` while the
        registry cannot be asked.
        """
        if schema_id not in self._schemas:
            match await self._registry.fetch(schema_id):
                case SchemaText(text):
                    self._schemas[schema_id] = text
                case Unusable() | Denied():
                    self._schemas[schema_id] = None
                case Unreachable(reason):
                    raise DependencyError("schema registry", reason)
        return self._schemas[schema_id]
