"""The whole corpus of bad records over the real topic: each has the outcome that is written beside
it, and the worker that met them all lives on.
"""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from confluent_kafka import KafkaError, Message, Producer
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.bad_records import CASES, SCHEMAS, Case
from tests.fixtures.debezium import MENTOR, OTHER_MENTOR
from tests.fixtures.source_side import CHANGES, SourceSide
from tests.fixtures.worker_process import Town, found_town, until

pytestmark = pytest.mark.stack


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[Town]:
    """A town of its own."""
    yield from found_town(stack, source_side, tmp_path)


@pytest.mark.requirement("R10")
@pytest.mark.requirement("R40")
@pytest.mark.requirement("R45")
def test_every_bad_record_of_the_corpus_ends_as_listed(town: Town) -> None:
    """A letter that points at it, with its error code, or none; no call; nobody waits
    behind them.
    """
    (good,) = town.mentors(1)
    worker = town.worker(SCHEMA_PATIENCE_S="1")
    town.settle()
    since = town.dynamics.last_seq()
    positions = _send(town, _registered(town))
    town.set_status([good], "paused")
    until(
        lambda: town.shown([good]) == {good: False}, "a good change among the bad ones is delivered"
    )
    town.settle()
    letters = {
        (letter.source.partition, letter.source.offset): letter.error_code
        for letter in town.letters()
        if letter.kind == "undecodable"
    }
    found = {case.name: letters.get(position) for position, case in positions.items()}
    assert found == {case.name: _error_code(case) for case in CASES}
    assert len(letters) == sum(_error_code(case) is not None for case in CASES), (
        "one letter each, and none about anything else"
    )
    assert town.calls([MENTOR, OTHER_MENTOR], since) == [], "no bad record makes a call"
    assert worker.process.poll() is None


def _error_code(case: Case) -> str | None:
    """What its letter says; None where there is to be none."""
    return (
        "unknown_schema" if case.expected.outcome == "unknown_schema" else case.expected.error_code
    )


def _registered(town: Town) -> dict[str, int]:
    """The corpus' schemas in the real registry."""
    registry = town.stack.env["HLF_SYNC_SCHEMA_REGISTRY_URL"]
    ids = {}
    for name, written in SCHEMAS.items():
        subject = f"corpus-{''.join(letter if letter.isalnum() else '-' for letter in name)}"
        answer = httpx.post(
            f"{registry}/subjects/{subject}/versions",
            json={"schema": written.text},
            trust_env=False,
            timeout=20,
        )
        ids[name] = int(answer.raise_for_status().json()["id"])
    return ids


def _send(town: Town, ids: dict[str, int]) -> dict[tuple[int, int], Case]:
    """Each case as a record; where it came to lie."""
    positions: dict[tuple[int, int], Case] = {}
    producer = Producer(
        {
            "bootstrap.servers": town.stack.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"],
            "message.max.bytes": 1_500_000,
        }
    )
    for case in CASES:

        def note(error: KafkaError | None, message: Message, case: Case = case) -> None:
            assert error is None, f"{case.name}: {error}"
            positions[message.partition() or 0, message.offset() or 0] = case

        producer.produce(
            CHANGES, case.value(ids), case.key, headers=list(case.headers), on_delivery=note
        )
        producer.poll(0)
    assert producer.flush(20) == 0
    assert len(positions) == len(CASES)
    return positions
