"""The leader's look at the source, every ten seconds: is it the database we knew, and is it set up
so that every change becomes a record? Heals what can be healed, and says the rest.

- **Another database, or one that went back** (a restored backup, a promoted standby): everybody is
  put in doubt and asked for, and the connector forgets a position that lies ahead of the log.
- **Publication, identities, tables, view not as they must be**: said at once; once they are right
  again, or were made anew between two looks, everybody is looked at, since what was committed in
  between may be in no record.
- **A clock that stepped back**: the times that it left in the future are brought back.

Decisions are core/source_identity's and core/source_health's. Runs in every worker, looks in the
leader only. The anchor in Kafka moves on only after everything that a break asks for has been done,
so a leader that dies in between leaves it to the next one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import uuid4

import structlog

from hlf_sync.core.source_health import Fault, Part, faults
from hlf_sync.core.source_identity import Anchor, Break, compare, decode
from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.postgres import clock_step, source_position
from hlf_sync.postgres.connections import DatabaseError, Pool, reaching
from hlf_sync.postgres.source_position import SourceState
from hlf_sync.postgres.source_shape import read_shape

_log = structlog.get_logger()

# As connectors/hlf-mentor-cdc.json and connectors/topics.json name them.
PUBLICATION = "hlf_mentor_pub"
ANCHOR_TOPIC = "hlf.mentor.source"

_EVERY_S = 10.0
_IDLE_S = 1.0
_WHO = "source watch"
# A step that a slow answer cannot be.
_STEP_S = 2.0


class Anchors(Protocol):
    """Where the anchor is kept: Kafka."""

    async def newest(self) -> bytes | None:
        """The newest value; None where there is none."""
        ...

    async def keep(self, value: bytes) -> None:
        """Return when it is safe."""
        ...


class StreamPort(Protocol):
    """The connector, as far as this watch needs it."""

    async def position(self) -> int | None:
        """Where in the log it stands; None: not known."""
        ...

    async def forget(self) -> bool:
        """Make it forget its position; False where nobody can from here."""
        ...


class SourceCounts(Protocol):
    """What is counted."""

    def swept(self, reason: str) -> None:
        """Everybody was asked for."""
        ...

    def distrusted(self, cause: str) -> None:
        """Everybody was put in doubt."""
        ...


@dataclass(frozen=True, slots=True)
class SourceSight:
    """What was seen last. `faults` is None while nothing was seen; `broken` is a break whose
    remedies are not all through.
    """

    faults: tuple[Fault, ...] | None = None
    broken: Break | None = None
    is_anchor_kept: bool | None = None
    # Monotonic seconds of the last look that saw all of it; before the first one, when this worker
    # began to lead.
    seen_at_s: float | None = None

    def count(self, part: Part) -> int | None:
        """How many faults of this kind."""
        return None if self.faults is None else sum(one.part is part for one in self.faults)


class SourceWatch:
    """Looks while it leads."""

    def __init__(
        self,
        *,
        pool: Pool,
        anchors: Anchors,
        stream: StreamPort,
        counts: SourceCounts,
        organization: str,
        lease_s: float,
        late_effect_s: float,
        leads: Callable[[], bool],
    ) -> None:
        self._pool = pool
        self._anchors = anchors
        self._stream = stream
        self._counts = counts
        self._organization = organization
        self._lease_s = lease_s
        self._late_effect_s = late_effect_s
        self._leads = leads
        self._forget()

    def _forget(self) -> None:
        self.sight = SourceSight()
        self._kept: Anchor | None = None
        self._has_read = False
        self._doubted: Break | None = None
        self._clock: tuple[float, float] | None = None

    async def run(self) -> None:
        """Look for ever."""
        while True:
            if not self._leads():
                self._forget()
                await asyncio.sleep(_IDLE_S)
                continue
            await self.look()
            await asyncio.sleep(_EVERY_S)

    async def look(self) -> None:
        """One look. What cannot be reached now is looked at the next time."""
        if self.sight.seen_at_s is None:
            self.sight = replace(self.sight, seen_at_s=asyncio.get_running_loop().time())
        await self._try("clock", self._look_at_clock)
        await self._try("shape", self._look_at_shape)
        await self._try("identity", self._look_at_identity)

    async def _try(self, what: str, look: Callable[[], Awaitable[None]]) -> None:
        try:
            with reaching("PostgreSQL"):
                await look()
        except (DependencyError, SettingsError, DatabaseError) as error:
            detail = error.detail if isinstance(error, DependencyError) else type(error).__name__
            _log.warning("source_not_seen", subject=what, error_code=detail)
            if what == "shape":
                self.sight = replace(self.sight, faults=None)
            elif what == "identity":
                self.sight = replace(self.sight, is_anchor_kept=False)

    async def _look_at_clock(self) -> None:
        async with self._pool.connection() as connection:
            database_s = await clock_step.clock_s(connection)
            ours_s = asyncio.get_running_loop().time()
            before, self._clock = self._clock, (database_s, ours_s)
            step_s = 0.0 if before is None else (database_s - before[0]) - (ours_s - before[1])
            rows = await clock_step.rebase(
                connection,
                lease_s=self._lease_s,
                late_s=self._late_effect_s,
                step_s=step_s if abs(step_s) > _STEP_S else 0.0,
            )
            if step_s < -_STEP_S:
                # A certificate that had lapsed by the wrong clock is valid again, and no row says so.
                await source_position.owe_sweep(connection, "PostgreSQL's clock was set back")
        if rows or abs(step_s) > _STEP_S:
            _log.warning(
                "clock_stepped", duration_s=round(step_s, 1), detail=f"{rows} rows brought back"
            )

    async def _look_at_shape(self) -> None:
        async with self._pool.connection() as connection:
            state = await source_position.read_state(connection)
            shape = await read_shape(connection, PUBLICATION)
            found = tuple(faults(shape, PUBLICATION, self._organization))
            before, self.sight = self.sight.faults, replace(self.sight, faults=found)
            if state is None:
                return
            if found:
                if before != found:
                    sentences = [*(one.text for one in found), found[0].fix]
                    _log.error("source_broken", detail="; ".join(sentences))
                await source_position.owe_sweep(connection, found[0].text)
                return
            why = state.sweep_owed
            if why is None and state.fingerprint not in {None, shape.fingerprint}:
                why = "a table or the publication was made anew"
            if why is None and state.fingerprint is not None:
                return
            async with connection.transaction():
                if why is not None:
                    count = await source_position.sweep(connection, _WHO, why)
                    _log.warning("swept", reason="source_mended", detail=why, mentors=count)
                await source_position.note_fingerprint(connection, shape.fingerprint)
        if why is not None:
            self._counts.swept("source_mended")

    async def _look_at_identity(self) -> None:
        if not self._has_read:
            self._kept = decode(await self._anchors.newest())
            self._has_read = True
        # Before the log's position: it may only lie behind it.
        streamed = await self._stream.position()
        async with self._pool.connection() as connection:
            state = await source_position.read_state(connection)
        if state is None:
            return
        cause = compare(self._kept, state.anchor)
        if cause in {None, Break.OTHER_TIMELINE, Break.FORGOTTEN} and (
            streamed is not None and streamed > state.anchor.lsn
        ):
            cause = Break.WENT_BACK
        if cause is None and self._doubted is not None:
            cause = self._doubted  # its remedies are not all through
        if cause is not None and not await self._is_healed(cause, state):
            return
        await self._beat(state)

    async def _is_healed(self, cause: Break, state: SourceState) -> bool:
        """Do what a break asks for; whether all of it is done."""
        self.sight = replace(self.sight, broken=cause)
        if self._doubted is not cause:
            async with self._pool.connection() as connection, connection.transaction():
                count = await source_position.distrust(
                    connection, self._organization, _WHO, f"the database: {cause.value}"
                )
            self._doubted = cause
            self._counts.distrusted(cause.value)
            _log.error(
                "database_changed",
                reason=cause.value,
                mentors=count,
                detail=f"system {state.anchor.system}, timeline {state.anchor.timeline}",
            )
        if cause.may_mislead_connector:
            try:
                is_forgotten = await self._stream.forget()
            except (DependencyError, SettingsError) as error:
                _log.warning(
                    "connector_not_reset",
                    error_code=error.detail if isinstance(error, DependencyError) else "refused",
                )
                return False
            _log.warning("connector_reset" if is_forgotten else "connector_needs_a_reset")
        return True

    async def _beat(self, state: SourceState) -> None:
        token = uuid4().hex
        async with self._pool.connection() as connection:
            number = await source_position.beat(
                connection, self._kept.beat if self._kept else 0, token
            )
        self._kept = replace(state.anchor, beat=number, token=token)
        self._doubted = None
        self.sight = replace(self.sight, broken=None)
        await self._anchors.keep(self._kept.encode())
        now_s = asyncio.get_running_loop().time()
        self.sight = replace(self.sight, is_anchor_kept=True, seen_at_s=now_s)
