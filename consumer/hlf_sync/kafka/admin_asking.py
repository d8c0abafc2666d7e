"""Asks an admin client so that librdkafka's own timer never ends the question: only we stop waiting.

Where that timer comes first, and the broker's answer or time-out after it, librdkafka 2.16 aborts the
process (`rd_kafka_enq_once_del_source_return`; confluentinc/librdkafka#4605; seen in a chaos run whose
brokers were slow). So the timer is the longest that there is, and nothing is asked unless a broker has
answered just before: a question that waits for a broker would meet the timer after all. Blocks. Called
by the readers of this room.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from typing import TypeVar

from confluent_kafka.admin import AdminClient

K = TypeVar("K")
T = TypeVar("T")

LONGEST_S = 3600.0
"""librdkafka's limit of `request_timeout`."""


def ask(
    admin: AdminClient,
    topic: str,
    question: Callable[[float], Mapping[K, "Future[T]"]],
    within_s: float,
) -> dict[K, T]:
    """What became of each part of the question, which is given its `request_timeout`. Raises
    `TimeoutError`, and `KafkaException` of any part.

    `topic` is what is asked for before. That also renews what the client remembers of its leaders: after
    one has changed (a broker that was frozen for a while is enough), librdkafka 2.16's admin client
    would go on asking the old one until its memory is 15 minutes old [measured].
    """
    admin.list_topics(topic, timeout=within_s)
    futures = question(LONGEST_S)
    _, missing = wait(futures.values(), timeout=within_s)
    if missing:
        raise TimeoutError(topic)
    return {part: future.result() for part, future in futures.items()}
