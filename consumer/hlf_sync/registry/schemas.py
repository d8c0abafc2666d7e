"""The registry as the worker needs it: its client with the decoder's cache (`SchemaPort`), and our
own schema under a rule.

The wiring builds from it, so that neither the pipeline nor the two rooms know of each other.
"""

import structlog

from hlf_sync.decode.schema import SchemaCache, WriterSchema
from hlf_sync.pipeline.schemas import Fetched, SchemaDenied, SchemaUnreachable
from hlf_sync.registry import client as registry

_log = structlog.get_logger()


async def register_guarded(client: registry.Registry, subject: str, schema_json: str) -> int:
    """The id of a schema of ours, registered under a rule that lets it grow by optional fields
    only.

    A registry that does not let us set the rule is no reason to hold letters back: an alarm, and
    on.
    """
    if not await client.guard(subject):
        _log.error("schema_unguarded", subject=subject, wanted=registry.COMPATIBILITY)
    return await client.register(subject, schema_json)


class RegistrySchemas:
    """Fetches schemas into the cache; alarms once for a schema that brings columns nobody asked for
    (their values are dropped).
    """

    def __init__(self, client: registry.Registry, cache: SchemaCache) -> None:
        self._client = client
        self._cache = cache

    async def fetch(self, schema_id: int) -> Fetched | SchemaDenied | SchemaUnreachable:
        """Fetch one schema. One that can never be used is 'fetched' too: its records become dead
        letters.
        """
        match await self._client.fetch(schema_id):
            case registry.SchemaText(text):
                schema = self._cache.add(schema_id, text)
                if isinstance(schema, WriterSchema) and schema.unexpected_columns:
                    _log.error(
                        "unexpected_columns",
                        schema_id=schema_id,
                        columns=sorted(schema.unexpected_columns),
                    )
                return Fetched()
            case registry.Unusable(reason):
                self._cache.refuse(schema_id, reason)
                return Fetched()
            case registry.Denied():
                return SchemaDenied()
            case registry.Unreachable(reason):
                return SchemaUnreachable(reason)
