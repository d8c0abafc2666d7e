"""The consumer thread: the only code that touches Kafka's consumer. Records go to the event loop in
batches, offsets come back to be committed.

The loop's side is a `Listener`. Positions are only what the listener says is finished; nothing is
committed or stored automatically. A consumer that fails for good (see faults) is closed, and made
anew after a pause; meanwhile `trouble` says why, and the worker is not ready.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaException

from hlf_sync.core.model import Record
from hlf_sync.core.rebuilding import Rebuilding
from hlf_sync.kafka.consumer_session import POLL_S, ConsumerSession, SourcePolicy
from hlf_sync.kafka.faults import (
    ClientFaultError,
    advice,
    code_of,
    ends_the_client,
    fault_of,
    refused_options,
)
from hlf_sync.kafka.listener import Listener
from hlf_sync.kafka.loop_side import LoopSide

_log = structlog.get_logger()

# Batches handed over that the loop has not taken yet; a third waits in the thread.
_HANDED_OVER = 2
# A consumer that is refused fails at its first heartbeat or fetch. One that is older than this is well.
_WELL_AFTER_S = 10.0
# While nothing comes and nothing is to be committed the thread turns four times a second and not
# twenty. A record ends the wait at once; what the loop asks for then takes effect so much later.
_QUIET_AFTER_S = 1.0
_QUIET_POLL_S = 0.25


@dataclass(slots=True)
class _Wishes:
    """What the loop wants of the thread; each field is written by one side and replaced whole."""

    offsets: Mapping[int, int] = field(default_factory=dict)
    is_paused: bool = False
    is_stopping: bool = False
    is_renewed: bool = False
    is_aside: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no consumer that works, and since when (monotonic)."""

    error_code: str
    since_s: float


class KafkaSource:
    """Runs the consumer in a thread of its own."""

    def __init__(
        self,
        config: Mapping[str, Any],
        policy: SourcePolicy,
        listener: Listener,
        loop: asyncio.AbstractEventLoop,
        *,
        make: Callable[[dict[str, Any]], Consumer] | None = None,
    ) -> None:
        self._make = make or Consumer
        self._config = config
        self._policy = policy
        self._side = LoopSide(listener, loop)
        self._wishes = _Wishes()
        self._room = threading.Semaphore(_HANDED_OVER)
        self._rebuilding = Rebuilding()
        self._committed_at_s = 0.0
        self._recommitted_at_s = self._busy_at_s = monotonic()
        self.trouble: Trouble | None = None
        self.restarts = 0
        self.last_turn_s = monotonic()
        try:
            self._session: ConsumerSession | None = self._born()
        except KafkaException as error:
            raise refused_options(error) from error
        self._thread = threading.Thread(target=self._run, name="kafka-consumer", daemon=True)

    def start(self) -> None:
        """Subscribe and read."""
        self._thread.start()

    async def stop(self) -> None:
        """Commit what the listener last said is finished, leave the group, end the thread. May take
        as long as a broker that does not answer.
        """
        self._wishes.is_stopping = True
        while self._thread.is_alive():  # noqa: ASYNC110 - a thread sets no event; joining it in an executor would outlive a cancellation
            await asyncio.sleep(POLL_S)

    def commit_soon(self, offsets: Mapping[int, int]) -> None:
        """Commit these next offsets to read, at the next turn."""
        if offsets != self._wishes.offsets:
            self._busy_at_s = monotonic()
        self._wishes.offsets = offsets

    def pause(self, *, is_paused: bool) -> None:
        """Stop or go on fetching; polling never stops."""
        self._wishes.is_paused = is_paused

    def renew(self) -> None:
        """Make the consumer anew: the group does not know it, and it has not noticed."""
        self._wishes.is_renewed = True

    def set_aside(self, is_aside: bool) -> None:
        """Leave the group, so that others take the partitions, or join it again."""
        self._wishes.is_aside = is_aside

    @property
    def paused_count(self) -> int:
        """Partitions that are paused."""
        return 0 if self._session is None else self._session.paused_count

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._wishes.is_stopping:
            try:
                if self._wishes.is_aside:
                    self._stand_aside()
                    continue
                session = self._session = self._session or self._born()
                session.begin()
                while not (self._wishes.is_stopping or self._wishes.is_aside):
                    self._turn(session)
            except ClientFaultError as error:
                self._fail(error.code)
            except KafkaException as error:
                self._fail(_code(error))
        if self._session is not None:
            self._session.commit_offsets(self._wishes.offsets, asynchronous=False)
            self._session.end()

    def _stand_aside(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            session.commit_offsets(self._wishes.offsets, asynchronous=False)
            session.end()
            self._wishes.offsets = {}
        self._wishes.is_renewed = False
        self._note_turn()
        sleep(POLL_S)

    def _turn(self, session: ConsumerSession) -> None:
        self.last_turn_s = now_s = monotonic()
        if self._wishes.is_renewed:
            self._wishes.is_renewed = False
            raise ClientFaultError("UNASSIGNED")
        try:
            session.follow_pause(is_paused=self._wishes.is_paused)
            if now_s - self._committed_at_s >= self._policy.commit_interval_s:
                self._committed_at_s = now_s
                session.commit_offsets(self._wishes.offsets, asynchronous=True)
            if now_s - self._recommitted_at_s >= self._policy.recommit_s:
                self._recommitted_at_s = now_s
                session.recommit(self._wishes.offsets)
            is_quiet = now_s - self._busy_at_s > _QUIET_AFTER_S
            for records in session.read(_QUIET_POLL_S if is_quiet else POLL_S):
                self._busy_at_s = monotonic()
                self._hand_over(records)
        except KafkaException as error:
            fault = fault_of(error)
            if fault is None or ends_the_client(fault):
                raise
            self._side.tell(self._side.listener.kafka_failed, code_of(fault))
            sleep(POLL_S)
        if self.trouble is not None and now_s - session.born_s > _WELL_AFTER_S:
            self._recover(self.trouble)

    def _born(self) -> ConsumerSession:
        return ConsumerSession(
            self._make,
            self._config,
            self._policy,
            self._side,
            turned=self._note_turn,
            is_stopping=lambda: self._wishes.is_stopping,
        )

    def _fail(self, code: str) -> None:
        """Close it, say so, and wait a while before the next one."""
        now_s, session = monotonic(), self._session
        if self.trouble is None or self.trouble.error_code != code:
            since_s = now_s if self.trouble is None else self.trouble.since_s
            self.trouble = Trouble(code, since_s)
            _log.error("consumer_failed", error_code=code, detail=advice(code))
        self.restarts += 1
        # Committed by a member that is none any more; and their partitions are gone.
        self._wishes.offsets = {}
        wait_s = self._rebuilding.wait_s(0.0 if session is None else now_s - session.born_s)
        if session is not None:
            self._session = None
            session.bury()
        until_s = monotonic() + wait_s
        while monotonic() < until_s and not self._wishes.is_stopping:
            self._note_turn()
            sleep(POLL_S)

    def _recover(self, trouble: Trouble) -> None:
        self.trouble = None
        _log.info(
            "consumer_back",
            error_code=trouble.error_code,
            duration_s=round(monotonic() - trouble.since_s, 1),
        )

    def _note_turn(self) -> None:
        self.last_turn_s = monotonic()

    def _hand_over(self, records: list[Record]) -> None:
        if not records:
            return
        if self.trouble is not None:
            self._recover(self.trouble)
        while not self._room.acquire(timeout=POLL_S):
            if self._wishes.is_stopping:
                return
        self._side.loop.call_soon_threadsafe(self._deliver, records)

    def _deliver(self, records: list[Record]) -> None:
        self._room.release()
        self._side.listener.records(records)


def _code(error: KafkaException) -> str:
    fault = fault_of(error)
    return type(error).__name__ if fault is None else code_of(fault)
