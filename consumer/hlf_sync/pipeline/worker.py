"""The worker's event loop: takes records in from the source, runs the stages, commits what is
finished, and ends in order.

Implements the source's `Listener`. The wiring builds it; the command line runs it. Holds no
business decision.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import structlog

from hlf_sync.core.model import Record
from hlf_sync.pipeline.stages import Stages

_log = structlog.get_logger()

# Changes held in memory, about 15 MiB at most. Pausing throws away what was prefetched, so it must
# not happen often; and hot mentors are looked at twice a second, so half a second's worth of a fast
# backlog must find room, or the room would be the limit.
_PAUSE_AT = 50_000
_RESUME_AT = 35_000
# A mentor takes six times a change's memory, so a sweep of all is bounded by mentors: 10 MiB. Even at
# 5,000 looks a second what is left when fetching goes on lasts for one.
_PAUSE_AT_MENTORS = 10_000
_RESUME_AT_MENTORS = 5_000
_TURN_S = 0.05
# While nothing is held and nothing new is finished; a batch of records ends it at once.
_QUIET_TURN_S = 1.0


class RecordSource(Protocol):
    """The consumer thread."""

    def start(self) -> None:
        """Subscribe and read."""
        return

    async def stop(self) -> None:
        """Commit and leave the group."""
        return

    def commit_soon(self, offsets: Mapping[int, int]) -> None:
        """Commit these next offsets to read."""
        return

    def pause(self, *, is_paused: bool) -> None:
        """Stop or go on fetching."""
        return

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        ...


class _NoSource(RecordSource):
    """Before `run` has got one, and in tests that hand records over: the protocol's empty methods."""

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return True


class Worker:
    """One process's worth of work."""

    def __init__(self, stages: Stages, *, revocation_s: float) -> None:
        self.stages = stages
        self._revocation_s = revocation_s
        self._is_paused = False
        self._source: RecordSource = _NoSource()
        self._stirred = asyncio.Event()

    @property
    def backlog(self) -> int:
        """Positions held in memory without an outcome. Removals that wait for an operator's word
        are not counted: they must stop nothing else.
        """
        stages = self.stages
        return (
            stages.queue.size
            + stages.intake.parked_count
            + stages.letters.under_way
            - stages.delivery.held_changes
        )

    async def run(
        self,
        source: RecordSource,
        services: Mapping[str, Callable[[], Awaitable[None]]],
        stop: asyncio.Event,
    ) -> None:
        """Work until `stop`. A stage that ends by an error of ours ends the worker: that is a bug,
        and must be loud.
        """
        self._source = source
        stages = self.stages
        work = {
            "screening": stages.screening.run,
            "claiming": stages.delivery.claim,
            "calling": stages.delivery.start,
            "recording": stages.recording.run,
            "committing": self._commit,
            **services,
        }
        bug = self._watch_for_bugs()
        await stages.gate.refresh()
        tasks: list[asyncio.Future[None]] = [
            bug,
            *(asyncio.ensure_future(start()) for start in work.values()),
        ]
        stopping: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
        source.start()
        try:
            done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()
            await self._drain()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            stopping.cancel()
        source.commit_soon(stages.assignment.committable())
        await source.stop()

    def _watch_for_bugs(self) -> "asyncio.Future[None]":
        """A callback that raises would otherwise only be logged, and the records it was about never
        finished.
        """
        loop = asyncio.get_running_loop()
        bug: asyncio.Future[None] = loop.create_future()

        def note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            error = context.get("exception")
            _log.error("unhandled", detail=context["message"].split(" ")[0], exc_info=error)
            if error is not None and "handle" in context and not bug.done():
                bug.set_exception(error)

        loop.set_exception_handler(note)
        return bug

    async def _drain(self) -> None:
        """Start no more calls; wait for those under way and their records. Whoever calls bounds
        it.
        """
        stages = self.stages
        stages.delivery.is_stopping = True
        self._source.pause(is_paused=True)
        while stages.delivery.under_way or stages.recording.under_way:
            stages.completion.progress.clear()
            try:
                async with asyncio.timeout(_TURN_S):
                    await stages.completion.progress.wait()
            except TimeoutError:
                continue

    async def _commit(self) -> None:
        """Tell the source what is finished, and mind the backlog."""
        told: Mapping[int, int] | None = None
        while True:
            await asyncio.sleep(_TURN_S)
            finished = self.stages.assignment.committable()
            if finished == told and not self._is_held():
                await self._until_stirred()
                finished = self.stages.assignment.committable()
            told = finished
            self._source.commit_soon(finished)
            self._share()
            if not self._source.is_alive:
                message = "the consumer thread has ended"
                raise RuntimeError(message)
            self._mind_backlog()

    def _is_held(self) -> bool:
        """Whether any change waits for its outcome."""
        stages = self.stages
        return bool(stages.queue.size or stages.intake.parked_count or stages.letters.under_way)

    async def _until_stirred(self) -> None:
        """Wait for records or for partitions that come and go, but not for long: the consumer's
        thread may have ended.
        """
        self._stirred.clear()
        try:
            async with asyncio.timeout(_QUIET_TURN_S):
                await self._stirred.wait()
        except TimeoutError:
            return

    def _share(self) -> None:
        self.stages.pacing.share(self.stages.assignment.share, asyncio.get_running_loop().time())

    def _is_full(self) -> bool:
        """Whether no more is to be fetched; not asked of what waits for an operator's word."""
        stages = self.stages
        mentors = len(stages.queue) - stages.delivery.held_changes
        return self.backlog >= (_RESUME_AT if self._is_paused else _PAUSE_AT) or mentors >= (
            _RESUME_AT_MENTORS if self._is_paused else _PAUSE_AT_MENTORS
        )

    def _mind_backlog(self) -> None:
        wanted = self._is_full()
        if wanted is not self._is_paused:
            self._is_paused = wanted
            self._source.pause(is_paused=wanted)
            if wanted:
                self.stages.meter.paused()
            _log.info("fetching_paused" if wanted else "fetching_resumed", backlog=self.backlog)

    def records(self, records: list[Record]) -> None:
        """Take a batch from the source."""
        self._stirred.set()
        self.stages.intake.take(records, asyncio.get_running_loop().time())
        self.stages.completion.wake()
        self.kafka_answered()
        if not self._is_paused and self._is_full():
            self._mind_backlog()

    def assigned(self, partitions: list[int]) -> None:
        """These partitions are ours from now on."""
        self._stirred.set()
        self.stages.assignment.assign(partitions)
        self.stages.meter.rebalanced("assigned")
        self._share()
        self.kafka_answered()

    async def revoked(self, partitions: list[int]) -> Mapping[int, int]:
        """Let what is in progress end, within bounds; say what may be committed; forget
        the rest.
        """
        stages, loop = self.stages, asyncio.get_running_loop()
        deadline_s = loop.time() + self._revocation_s
        gone = set(partitions)
        stages.delivery.drop(
            lambda one: any(c.position.partition not in gone for c in one.all_changes)
        )
        for partition in partitions:
            stages.queue.forget(partition)
            stages.intake.forget(partition)
        while (
            any(stages.queue.is_busy(partition) for partition in partitions)
            and loop.time() < deadline_s
        ):
            stages.completion.progress.clear()
            try:
                async with asyncio.timeout(_TURN_S):
                    await stages.completion.progress.wait()
            except TimeoutError:
                continue
        committable = stages.assignment.committable(partitions)
        stages.meter.rebalanced("revoked")
        self._forget(partitions)
        return committable

    def lost(self, partitions: list[int]) -> None:
        """The partitions are somebody else's already."""
        self.stages.meter.rebalanced("lost")
        self._forget(partitions)

    def _forget(self, partitions: list[int]) -> None:
        """What is in flight ends by itself; the ledger's generation decides about it."""
        self._stirred.set()
        for partition in partitions:
            self.stages.queue.forget(partition)
            self.stages.intake.forget(partition)
        self.stages.assignment.revoke(partitions)
        self.stages.delivery.drop(self.stages.completion.is_ours)
        self.stages.tracer.left(self.stages.queue.__contains__)
        self._share()

    def positions_lost(self, partitions: list[int]) -> None:
        """Records between the committed offset and the log's start are gone: look at every mentor
        instead.
        """
        self.stages.sweeping.positions_lost(partitions)

    def never_committed(self, partitions: list[int]) -> None:
        """No offset was ever committed, or they are gone: look at every mentor that is known."""
        self.stages.sweeping.never_committed(partitions)

    def kafka_failed(self, reason: str) -> None:
        """No broker answers."""
        self.stages.dependencies.failed("Kafka", reason, asyncio.get_running_loop().time())

    def kafka_answered(self) -> None:
        """A broker answers."""
        if self.stages.dependencies.down:
            self.stages.dependencies.answered("Kafka", asyncio.get_running_loop().time())
