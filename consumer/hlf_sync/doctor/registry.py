"""The schema registry: does it answer, and does it take the schema of our dead letters? Asks;
registers nothing.
"""

from collections.abc import AsyncIterator

from hlf_sync import clients, packaged
from hlf_sync.config.settings import Settings
from hlf_sync.doctor.examination import ASK_S, Examination
from hlf_sync.doctor.finding import Finding, fail, ok, skipped

REACH, LETTERS = "registry", "registry.dead_letters"


def examination(settings: Settings) -> Examination:
    """Of the settings' registry."""
    fix = (
        "look at HLF_SYNC_SCHEMA_REGISTRY_URL (the Confluent-compatible root), …_USER, …_PASSWORD,"
        " …_CA_FILE; workers wait meanwhile"
    )
    return Examination(
        "the schema registry", (REACH, LETTERS), lambda: _look(settings), fix, is_needed=True
    )


async def _look(settings: Settings) -> AsyncIterator[Finding]:
    if settings.schema_registry_url is None:
        yield skipped(REACH, "HLF_SYNC_SCHEMA_REGISTRY_URL is not set")
        return
    subject, schema = f"{settings.dead_letters_topic}-value", packaged.schema("dead_letter.avsc")
    async with clients.registry(settings, timeout_s=ASK_S / 2) as registry:
        await registry.ping()
        yield ok(REACH, "answers")
        schema_id = await registry.find(subject, schema)
        if schema_id is not None:
            yield ok(LETTERS, f"{subject} has our schema (id {schema_id})")
        elif await registry.is_compatible(subject, schema):
            yield ok(LETTERS, f"{subject} takes our schema; the first dead letter registers it")
        else:
            yield fail(
                LETTERS,
                f"{subject} would refuse our schema: no dead letter could be written",
                "see which version is registered there",
            )
