"""The ledger: intents and leases before a call, what came of it afterwards. Group commit: one
statement for all mentors that are ready.

PostgreSQL's clock is the only one for leases and doubt. A statement that finds the row changed
(another generation, another owner) leaves it out of its answer; the pipeline looks at that mentor
again. Why it is built so: docs/adr/0002-ledger.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from hlf_sync.core.dead_letter import DeadLetter
from hlf_sync.core.evaluation import Evaluation
from hlf_sync.core.mass_removal import MassRemovalPolicy, removals_allowed
from hlf_sync.core.model import HaltReason, LedgerState, MentorId, Trigger
from hlf_sync.core.outcome import Claimed, Ending
from hlf_sync.postgres.connections import Pool, array, reaching
from hlf_sync.postgres.statements import ledger as sql
from hlf_sync.postgres.statements import sync_request


@dataclass(frozen=True, slots=True)
class LedgerPolicy:
    """Times in seconds; the lease must exceed the longest call."""

    owner: str
    lease_s: float
    late_effect_s: float
    mass_removal: MassRemovalPolicy


class Ledger:
    """`LedgerPort` on PostgreSQL."""

    def __init__(self, pool: Pool, policy: LedgerPolicy) -> None:
        self._pool = pool
        self._policy = policy

    async def claim(self, evaluations: Sequence[Evaluation]) -> Mapping[MentorId, Claimed]:
        """Write intents and take leases."""
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                if not self._is_guarded(evaluations):
                    return await self._claim(connection, evaluations)
                async with connection.transaction():
                    return await self._claim_guarded(connection, evaluations)

    async def claim_watched(self, evaluation: Evaluation) -> Claimed | None:
        """Claim one mentor for a process that no uncommitted offset stands for: in the same
        transaction the scheduler is told to look at the lease's end. None where the mentor is not to
        be had.
        """
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection, connection.transaction():
                claim = self._claim_guarded if self._is_guarded([evaluation]) else self._claim
                claimed = (await claim(connection, [evaluation])).get(evaluation.mentor_id)
                if claimed is not None:
                    await connection.execute(sql.WATCH, (claimed.mentor_id, claimed.generation))
                return claimed

    async def look_again(self, evaluation: Evaluation, after_s: float) -> None:
        """Let the workers look at a recorded mentor, `after_s` seconds from now at the latest."""
        values = (after_s, evaluation.mentor_id, evaluation.claimed.generation)
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                await connection.execute(sql.LOOK_AGAIN, values)

    def _is_guarded(self, evaluations: Sequence[Evaluation]) -> bool:
        return self._policy.mass_removal.is_on and any(e.is_counted_removal for e in evaluations)

    async def _claim(
        self,
        connection: AsyncConnection[TupleRow],
        evaluations: Sequence[Evaluation],
        confirmed: Sequence[str] = (),
    ) -> dict[MentorId, Claimed]:
        if not evaluations:
            return {}
        cursor = await connection.execute(
            sql.CLAIM,
            {
                "owner": self._policy.owner,
                "lease_s": self._policy.lease_s,
                "late_s": self._policy.late_effect_s,
                "mentors": array(e.mentor_id for e in evaluations),
                "intended": array(e.operation.wanted for e in evaluations),
                "generations": array(e.before.generation + 1 for e in evaluations),
                "triggers": array(e.triggered_by for e in evaluations),
                "counted": array(e.is_counted_removal for e in evaluations),
                "confirmed": array(confirmed),
                "window_s": self._policy.mass_removal.window_s,
                "traces": array(e.trace_parent for e in evaluations),
                "contacts": array(e.contact_id for e in evaluations),
            },
        )
        return {MentorId(row[0]): Claimed(*row) for row in await cursor.fetchall()}

    async def _claim_guarded(
        self, connection: AsyncConnection[TupleRow], evaluations: Sequence[Evaluation]
    ) -> dict[MentorId, Claimed]:
        """Claim what the guard lets through. An operator's word is used up by a claim only."""
        allowed, confirmed = await self._guarded(connection, evaluations)
        claimed = await self._claim(connection, allowed, confirmed)
        if used := [mentor_id for mentor_id in confirmed if mentor_id in claimed]:
            await connection.execute(sql.RELEASE, (used,))
        return claimed

    async def _guarded(
        self, connection: AsyncConnection[TupleRow], evaluations: Sequence[Evaluation]
    ) -> tuple[Sequence[Evaluation], Sequence[MentorId]]:
        """Whom the guard lets through, and whose removal an operator has confirmed."""
        policy = self._policy.mass_removal
        counted = [e.mentor_id for e in evaluations if e.is_counted_removal]
        await connection.execute(sql.GUARD_LOCK)
        cursor = await connection.execute(
            sql.GUARD_COUNT, {"window_s": policy.window_s, "mentors": counted}
        )
        removed, is_halted, confirmed, counted_before = await cursor.fetchone() or (
            0,
            False,
            [],
            [],
        )
        free = {*confirmed, *counted_before} if not is_halted else set(confirmed)
        more = [mentor_id for mentor_id in counted if mentor_id not in free]
        allowed, detail = 0, "removals wait for confirm-removals"
        if not is_halted:
            allowed, detail = await self._allowance(connection, removed, len(more))
        if held := more[allowed:]:
            await connection.execute(sql.HOLD, (held,))
            await connection.execute(sql.GUARD_HALT, (HaltReason.MASS_REMOVAL.value, detail))
        return [e for e in evaluations if e.mentor_id not in held], confirmed

    async def _allowance(
        self, connection: AsyncConnection[TupleRow], removed: int, asked: int
    ) -> tuple[int, str]:
        """How many of so many removals may be called, and what the halt says when not all may."""
        policy = self._policy.mass_removal
        if removed + asked <= policy.minimum:
            return asked, ""
        cursor = await connection.execute(sql.LISTED_COUNT)
        (listed,) = await cursor.fetchone() or (0,)
        detail = (
            f"{removed} of {listed + removed} listed mentors removed within {policy.window_s:.0f} s; more"
            " wait for confirm-removals"
        )
        return removals_allowed(policy, removed=removed, listed=listed), detail

    async def record(self, evaluations: Sequence[Evaluation]) -> set[MentorId]:
        """Record what came of claims."""
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                letters = [e for e in evaluations if e.dead_letter_id]
                healed = [
                    e.mentor_id
                    for e in evaluations
                    if e.conclusion.ending is Ending.APPLIED
                    and (e.before.dead_letter_id or e.before.state is LedgerState.DEAD_LETTERED)
                ]
                if not letters and not healed:
                    recorded = await self._record(connection, evaluations)
                else:
                    async with connection.transaction():
                        recorded = await self._record(connection, evaluations)
                        await self._note_failures(
                            connection, [e for e in letters if e.mentor_id in recorded]
                        )
                        await connection.execute(sql.RESOLVE, (array(healed),))
                if len(recorded) < len(evaluations):
                    await self._lose(
                        connection, [e for e in evaluations if e.mentor_id not in recorded]
                    )
                return recorded

    async def _lose(
        self, connection: AsyncConnection[TupleRow], evaluations: Sequence[Evaluation]
    ) -> None:
        """These lost their claim before they were recorded."""
        lost = sorted(
            (e for e in evaluations if e.conclusion.ending is not Ending.RELEASED),
            key=attrgetter("mentor_id"),
        )
        if lost:
            values = {
                "owner": self._policy.owner,
                "late_s": self._policy.late_effect_s,
                "mentors": array(e.mentor_id for e in lost),
                "late": array(e.conclusion.ending is Ending.LATE for e in lost),
                "contacts": array(e.contact_id for e in lost),
            }
            await connection.execute(sql.LOST, values)
        released = [e.mentor_id for e in evaluations if e.conclusion.ending is Ending.RELEASED]
        if released:
            await connection.execute(
                sql.RELINQUISH, {"owner": self._policy.owner, "mentors": array(released)}
            )

    async def _record(
        self, connection: AsyncConnection[TupleRow], evaluations: Sequence[Evaluation]
    ) -> set[MentorId]:
        values = self._told(evaluations)
        cursor = await connection.execute(sql.RECORD, values)
        found = set(await cursor.fetchall())
        recorded = {MentorId(mentor_id) for mentor_id, _ in found}
        if len(found) < len(evaluations):
            rest = [e for e in evaluations if (e.mentor_id, e.claimed.generation) not in found]
            cursor = await connection.execute(sql.RECORD_REST, self._told(rest))
            recorded |= {MentorId(row[0]) for row in await cursor.fetchall()}
        return recorded

    def _told(self, evaluations: Sequence[Evaluation]) -> dict[str, object]:
        """The parameters: an array for each column, in the order in which rows are locked."""
        rows = sorted(map(_told, evaluations), key=itemgetter(0))
        columns = map(array, zip(*rows, strict=True))
        return {
            "owner": self._policy.owner,
            "late_s": self._policy.late_effect_s,
            **dict(zip(_TOLD, columns, strict=True)),
        }

    async def _note_failures(
        self, connection: AsyncConnection[TupleRow], letters: Sequence[Evaluation]
    ) -> None:
        await connection.execute(
            sql.FAIL,
            (
                [e.mentor_id for e in letters],
                [e.certification_id for e in letters],
                [e.conclusion.error_code and e.conclusion.error_code.value for e in letters],
                [e.claimed.attempt_number for e in letters],
                [e.dead_letter_id for e in letters],
            ),
        )

    async def settle(self, evaluations: Sequence[Evaluation]) -> set[MentorId]:
        """Record evaluations without a call."""
        ordered = sorted(evaluations, key=attrgetter("mentor_id"))
        owed = [e for e in ordered if e.conclusion.state is LedgerState.PENDING]
        rest = [e for e in ordered if e.conclusion.state is not LedgerState.PENDING]
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                if not owed:
                    return await self._settle(connection, rest)
                async with connection.transaction():
                    settled = await self._settle(connection, rest) if rest else set()
                    return settled | await self._owe(connection, owed)

    async def _settle(
        self, connection: AsyncConnection[TupleRow], rest: Sequence[Evaluation]
    ) -> set[MentorId]:
        cursor = await connection.execute(
            sql.SETTLE,
            (
                array(e.mentor_id for e in rest),
                array(e.before.generation for e in rest),
                array(e.conclusion.state for e in rest),
                array(e.reevaluate_at_s for e in rest),
            ),
        )
        return {MentorId(row[0]) for row in await cursor.fetchall()}

    async def _owe(
        self, connection: AsyncConnection[TupleRow], owed: Sequence[Evaluation]
    ) -> set[MentorId]:
        values = {
            "mentors": array(e.mentor_id for e in owed),
            "states": array(e.conclusion.state for e in owed),
            "triggers": array(e.triggered_by for e in owed),
            "late_s": self._policy.late_effect_s,
        }
        cursor = await connection.execute(sql.OWE, values)
        return {MentorId(row[0]) for row in await cursor.fetchall()}

    async def refuse(self, letter: DeadLetter, evaluation: Evaluation) -> bool:
        """Record a dead letter that needed no claim, about what its first look has decided."""
        values = {
            "mentor": letter.mentor_id,
            "generation": letter.generation or 0,
            "before": evaluation.before.generation,
            "look_s": evaluation.reevaluate_at_s,
            "attempts": letter.attempt_count,
            "code": letter.error_code,
            "letter": letter.id,
            "trigger": letter.triggered_by and letter.triggered_by.value,
            "trace": evaluation.trace_parent,
            "late_s": self._policy.late_effect_s,
        }
        failure = (
            [letter.mentor_id],
            [letter.certification_id],
            [letter.error_code],
            [letter.attempt_count],
            [letter.id],
        )
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection, connection.transaction():
                cursor = await connection.execute(sql.REFUSE, values)
                if await cursor.fetchone() is None:
                    return False
                await connection.execute(sql.FAIL, failure)
                return True

    async def hold_removals(self, mentor_ids: Sequence[MentorId]) -> None:
        """Note removals that wait for an operator's word."""
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                await connection.execute(sql.HOLD, (list(mentor_ids),))

    async def ask(self, mentor_ids: Sequence[MentorId], triggered_by: Trigger, reason: str) -> None:
        """Insert sync requests for these mentors."""
        values = {"mentors": array(mentor_ids)}
        await self._ask(sync_request.BY_WORKER, triggered_by, reason, values)

    async def ask_all(
        self, triggered_by: Trigger, reason: str, *, only_if_known: bool = False
    ) -> int:
        """Insert sync requests for all in the view and in the ledger; the number of requests.
        `only_if_known`: not while the ledger is empty.
        """
        values = {"only_if_known": only_if_known}
        return await self._ask(sync_request.ALL_BY_WORKER, triggered_by, reason, values)

    async def _ask(
        self, statement: str, triggered_by: Trigger, reason: str, values: Mapping[str, object]
    ) -> int:
        said = {"trigger": triggered_by.value, "owner": self._policy.owner, "reason": reason}
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                cursor = await connection.execute(statement.encode(), {**said, **values})
                return cursor.rowcount

    async def note_failure(self, letter: DeadLetter) -> None:
        """Note a dead letter about an unreadable record whose key names a mentor, and ask for a
        look at that mentor; the ledger row is another matter (the scheduler resolves it).
        """
        values = {
            "mentor": letter.mentor_id,
            "code": letter.error_code,
            "attempts": letter.attempt_count,
            "letter": letter.id,
            "owner": self._policy.owner,
        }
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                await connection.execute(sync_request.FOR_UNREADABLE_RECORD, values)


# As sql.RECORD names them, in the order of `_told`.
_TOLD = """
    mentors generations endings states wanted before_intended before_state counts claimed_at codes
    letters reevaluate operations triggers attempts statuses durations correlations reasons
    certifications contacts started_at farewells before_contacts
    """.split()  # noqa: SIM905 - reads better than twenty quoted words


def _told(evaluation: Evaluation) -> tuple[object, ...]:
    """What the ledger is told of one. Words of enums are texts already."""
    claimed, before, conclusion = evaluation.claimed, evaluation.before, evaluation.conclusion
    command, result = evaluation.command, evaluation.result
    answered: tuple[int | None, int, str | None] = (
        (None, 0, None)
        if result is None
        else (result.http_status, result.duration_ms, result.correlation_id)
    )
    return (
        claimed.mentor_id,
        claimed.generation,
        conclusion.ending,
        conclusion.state,
        command.operation.wanted,
        before.intended,
        before.state,
        conclusion.counts,
        claimed.claimed_at_s,
        conclusion.error_code,
        evaluation.dead_letter_id,
        evaluation.planned_look_s,
        command.operation,
        evaluation.triggered_by,
        claimed.attempt_number,
        *answered,
        command.reason,
        evaluation.certification_id,
        evaluation.contact_id,
        evaluation.started_s,
        evaluation.is_farewell,
        f"{{{','.join(before.doubtful_contacts)}}}" if before.doubtful_contacts else None,
    )
