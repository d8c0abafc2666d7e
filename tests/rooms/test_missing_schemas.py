"""Records that wait for schemas, with a registry that is a script."""

import asyncio

from hlf_sync.core.mentor_queue import MentorQueue
from hlf_sync.core.model import Position, Record
from hlf_sync.pipeline.assignment import Assignment
from hlf_sync.pipeline.intake import Intake
from hlf_sync.pipeline.patience import Dependencies
from hlf_sync.pipeline.schemas import SchemaDenied, Schemas
from hlf_sync.pipeline.tracer import NoTracer

from tests.fakes.worker import CountingMeter, ScriptedDecoder

_IDS = 300


class DenyingRegistry:
    """Knows nothing; notes how many ask at once."""

    def __init__(self) -> None:
        self.asking, self.most = 0, 0

    async def fetch(self, _schema_id: int) -> SchemaDenied:
        """As the real one answers for an id it does not have."""
        self.asking += 1
        self.most = max(self.most, self.asking)
        await asyncio.sleep(0)
        self.asking -= 1
        return SchemaDenied()


async def test_records_of_many_unknown_schemas_end_and_ask_a_few_at_once() -> None:
    """Thousands that all asked together waited for each other's connections, and none was ever
    answered.
    """
    registry, given_up = DenyingRegistry(), set[int]()
    schemas = Schemas(registry, Dependencies(), patience_s=0.01)
    intake = Intake(
        decoder=ScriptedDecoder(),
        assignment=Assignment(),
        queue=MentorQueue(),
        meter=CountingMeter(),
        tracer=NoTracer(),
        schemas=schemas,
        undecodable=lambda record, _position, _found: given_up.add(record.offset),
        truncated=lambda _position, _found: None,
        unparked=lambda: None,
    )
    for number in range(_IDS):
        intake.parked[number].append((Record(0, number, None, b"", 0), Position(0, number, 1)))
        schemas.need(number, intake.unpark, intake.give_up)
    async with asyncio.timeout(20):
        while len(given_up) < _IDS:
            await asyncio.sleep(0.01)
    assert registry.most <= 8
    assert intake.parked_count == 0
