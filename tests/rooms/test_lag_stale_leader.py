"""The lag's reader after a partition's leader has changed: Kafka's client goes on asking with what
it remembers, and must be told to look again.
"""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from hlf_sync.errors import DependencyError
from hlf_sync.kafka import lag_reader
from hlf_sync.kafka.lag_reader import LagReader


class StaleAdmin:
    """An admin client that remembers an old leader until it is asked for the topic: librdkafka's,
    on a broker that was frozen for 25 s.
    """

    def __init__(self, error: int, *, is_healed_by_looking: bool = True) -> None:
        self._error: int | None = error
        self._is_healed = is_healed_by_looking
        self.looks = 0

    def list_topics(self, topic: str, timeout: float) -> Any:
        """The topic's metadata; forgets the old leader."""
        self.looks += 1
        self._error = None if self._is_healed else self._error
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions=[0])})

    def list_offsets(self, asked: dict[Any, Any], request_timeout: float) -> dict[Any, Future[Any]]:
        """An offset of 7, or the broker's refusal."""
        answers: dict[Any, Future[Any]] = {}
        for where in asked:
            answers[where] = Future()
            if self._error is None:
                answers[where].set_result(SimpleNamespace(offset=7))
            else:
                answers[where].set_exception(KafkaException(KafkaError(self._error)))
        return answers


class SilentAdmin:
    """A broker that answers for the topic, and no question; until it is away."""

    def __init__(self) -> None:
        self.timers_s: list[float] = []
        self.is_away = False

    def list_topics(self, topic: str, timeout: float) -> Any:
        """The metadata; or nobody is there."""
        if self.is_away:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions=[0])})

    def list_offsets(self, asked: dict[Any, Any], request_timeout: float) -> dict[Any, Future[Any]]:
        """Never."""
        self.timers_s.append(request_timeout)
        return {where: Future() for where in asked}


def reader(admin: Any) -> LagReader:
    """A reader on this client."""
    return LagReader({}, "changes", "group", admin=admin)


@pytest.mark.parametrize(
    "error",
    [
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.NOT_LEADER_FOR_PARTITION,
    ],
)
async def test_a_leader_that_changed_is_looked_for_and_asked_again(error: int) -> None:
    """Not 'Kafka does not answer' for a quarter of an hour: seen on the sandbox after a broker was
    frozen.
    """
    admin = StaleAdmin(error)
    assert await reader(admin).log_ends([0, 1]) == {0: 7, 1: 7}
    assert admin.looks == 1


async def test_one_that_stays_wrong_is_said() -> None:
    """No loop."""
    admin = StaleAdmin(KafkaError.FENCED_LEADER_EPOCH, is_healed_by_looking=False)
    with pytest.raises(DependencyError, match="FENCED_LEADER_EPOCH"):
        await reader(admin).log_ends([0])
    assert admin.looks == 1


async def test_other_refusals_are_said_at_once() -> None:
    """A missing right is none of its business."""
    admin = StaleAdmin(KafkaError.TOPIC_AUTHORIZATION_FAILED, is_healed_by_looking=False)
    with pytest.raises(DependencyError, match="TOPIC_AUTHORIZATION_FAILED"):
        await reader(admin).log_ends([0])


async def test_librdkafkas_own_timer_never_ends_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it does and the broker's answer comes afterwards, the process is aborted. So we stop waiting,
    and the question is left to itself; and where no broker answers, none is asked.
    """
    monkeypatch.setattr(lag_reader, "_TIMEOUT_S", 0.05)
    admin = SilentAdmin()
    with pytest.raises(DependencyError, match="no answer in time"):
        await reader(admin).log_ends([0, 1])
    assert admin.timers_s == [3600]
    admin.is_away = True
    with pytest.raises(DependencyError, match="Kafka cannot be reached"):
        await reader(admin).log_ends([0])
    assert admin.timers_s == [3600]
