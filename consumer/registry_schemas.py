"""Connects the registry client and the decoder's cache: `SchemaPort`."""

from consumer.decode.registry import Registry
from consumer.decode.schema import SchemaCache
from consumer.pipeline.schemas import Denied, Fetched, Unreachable


class RegistrySchemas:
    """Fetches a schema into the cache."""

    def __init__(self, registry: Registry, cache: SchemaCache) -> None:
        self._registry = registry
        self._cache = cache

    async def fetch(self, schema_id: int) -> Fetched | Denied | Unreachable:
        """Adapted when the decode room is ready."""
        raise NotImplementedError
