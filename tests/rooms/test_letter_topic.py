"""The producer of dead letters, before any broker is there."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hlf_sync.core.dead_letter import DeadLetter, Source
from hlf_sync.core.model import LetterKind
from hlf_sync.kafka.dead_letter_producer import LetterTopic, producer_config

_FLOOD = 200


class _Registry:
    """Answers when it is told to; counts."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()

    async def schema_id(self) -> int:
        """As the registry's client has it."""
        self.asked += 1
        await self.may_answer.wait()
        return 7


@pytest.fixture
async def writes() -> AsyncIterator[list[asyncio.Task[None]]]:
    """Letters under way, dropped at the end: there is no broker to take them."""
    started: list[asyncio.Task[None]] = []
    yield started
    for task in started:
        task.cancel()
    await asyncio.gather(*started, return_exceptions=True)


async def test_a_flood_of_first_letters_asks_for_the_schema_once(
    writes: list[asyncio.Task[None]],
) -> None:
    """Two thousand that each asked kept the registry's answers from coming in time, and none was
    ever written.
    """
    registry = _Registry()
    topic = LetterTopic(
        producer_config(bootstrap_servers="127.0.0.1:1", options={}), "letters", registry.schema_id
    )
    writes += [asyncio.create_task(topic.write(_letter(number))) for number in range(_FLOOD)]
    await asyncio.sleep(0)  # each of them begins
    registry.may_answer.set()
    await asyncio.sleep(0)
    assert registry.asked == 1


def _letter(number: int) -> DeadLetter:
    return DeadLetter(
        f"t-0-{number}",
        LetterKind.UNDECODABLE,
        "decode_error",
        "the record cannot be read",
        Source("t", 0, number, 0),
        0,
        "a-worker",
    )
