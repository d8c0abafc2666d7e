"""The ledger: intents and leases before a call, what came of it afterwards. Group commit: one statement for all mentors that are ready.

PostgreSQL's clock is the only one for leases and doubt. A statement that finds the row changed (another generation, another owner) leaves
it out of its answer; the pipeline looks at that mentor again. Why it is built so: docs/adr/0002-ledger.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from consumer.core.dead_letter import DeadLetter
from consumer.core.mass_removal import MassRemovalPolicy, removals_allowed
from consumer.core.model import HaltReason, LedgerState, MentorId, Trigger
from consumer.core.outcome import Claim, Claimed, Ending
from consumer.ports import Delivered, Settlement
from consumer.postgres import Pool, array, reaching

# A crashed owner's call may have begun as late as its lease's end, so its late effect counts from there.
_CLAIM = """
INSERT INTO hlf_sync.mentor_ledger AS l (mentor_id, intended, state, generation, lease_owner, lease_until, attempt_count,
                                         triggered_by, removal_at, removal_confirmed)
SELECT mentor_id, intended, 'in_doubt', generation, %(owner)s, now() + make_interval(secs => %(lease_s)s), 1, triggered_by,
       CASE WHEN is_counted THEN now() END, mentor_id = ANY (%(confirmed)s::uuid[])
  FROM unnest(%(mentors)s::uuid[], %(intended)s::text[], %(generations)s::bigint[], %(triggers)s::text[], %(counted)s::bool[])
       AS w (mentor_id, intended, generation, triggered_by, is_counted)
 ORDER BY mentor_id
ON CONFLICT (mentor_id) DO UPDATE
   SET intended = excluded.intended, state = 'in_doubt', generation = excluded.generation,
       lease_owner = excluded.lease_owner, lease_until = excluded.lease_until,
       attempt_count = CASE WHEN l.state IN ('pending', 'in_doubt') THEN l.attempt_count + 1 ELSE 1 END,
       doubt_until = CASE WHEN l.lease_owner IS NULL THEN l.doubt_until
                          ELSE greatest(l.doubt_until, l.lease_until + make_interval(secs => %(late_s)s)) END,
       triggered_by = excluded.triggered_by, removal_at = coalesce(excluded.removal_at, l.removal_at),
       removal_confirmed = CASE WHEN excluded.removal_at IS NULL OR l.removal_at > now() - make_interval(secs => %(window_s)s)
                                THEN l.removal_confirmed OR excluded.removal_confirmed ELSE excluded.removal_confirmed END,
       updated_at = now()
 WHERE l.generation = excluded.generation - 1
   AND (l.lease_until IS NULL OR l.lease_until <= now() OR l.lease_owner = excluded.lease_owner)
RETURNING mentor_id::text, generation, attempt_count, extract(epoch FROM now())::float8
"""

# Whether the call began after every late effect of older calls.
_IS_PAST = "(l.doubt_until IS NULL OR l.doubt_until <= to_timestamp(w.claimed_at))"

# One statement: the ledger rows that are still ours, and the attempts of all (an attempt happened even when the lease was lost).
_RECORD = f"""
WITH w AS (
  SELECT * FROM unnest(%(mentors)s::uuid[], %(generations)s::bigint[], %(endings)s::text[], %(states)s::text[], %(wanted)s::text[],
                       %(before_intended)s::text[], %(before_state)s::text[], %(counts)s::bool[], %(claimed_at)s::float8[],
                       %(codes)s::text[], %(letters)s::text[], %(reevaluate)s::float8[], %(operations)s::text[], %(triggers)s::text[],
                       %(attempts)s::int[], %(statuses)s::int[], %(durations)s::int[], %(correlations)s::uuid[], %(reasons)s::text[],
                       %(certifications)s::uuid[], %(contacts)s::uuid[])
    AS w (mentor_id, generation, ending, state, wanted, before_intended, before_state, counts, claimed_at, error_code, letter_id,
          reevaluate_at, operation, triggered_by, attempt_number, http_status, duration_ms, correlation_id, reason, certification_id,
          contact_id)
), attempted AS (
  INSERT INTO hlf_sync.delivery_attempt (mentor_id, generation, attempt_number, operation, triggered_by, started_at, duration_ms,
                                         outcome, error_code, http_status, correlation_id, reason, certification_id)
  SELECT mentor_id, generation, attempt_number, operation, triggered_by, now() - make_interval(secs => duration_ms / 1000.0),
         duration_ms, ending, error_code, http_status, correlation_id, reason, certification_id
    FROM w WHERE ending <> 'released'
)
UPDATE hlf_sync.mentor_ledger l
   SET applied = CASE WHEN w.ending = 'applied' THEN w.wanted ELSE l.applied END,
       contact_id = CASE WHEN w.ending = 'applied' THEN w.contact_id ELSE l.contact_id END,
       intended = CASE w.ending WHEN 'applied' THEN CASE WHEN {_IS_PAST} THEN NULL ELSE l.intended END
                                WHEN 'unknown' THEN l.intended WHEN 'late' THEN l.intended ELSE w.before_intended END,
       state = CASE w.ending WHEN 'applied' THEN CASE WHEN {_IS_PAST} THEN w.state ELSE 'in_doubt' END
                             WHEN 'released' THEN coalesce(w.before_state, w.state) ELSE w.state END,
       doubt_until = CASE WHEN w.ending = 'late' THEN now() + make_interval(secs => %(late_s)s)
                          WHEN w.ending = 'applied' AND {_IS_PAST} THEN NULL ELSE l.doubt_until END,
       reevaluate_at = CASE WHEN w.ending <> 'applied' THEN l.reevaluate_at
                            WHEN {_IS_PAST} THEN to_timestamp(w.reevaluate_at)
                            ELSE least(to_timestamp(w.reevaluate_at), l.doubt_until) END,
       attempt_count = CASE WHEN w.ending = 'applied' THEN 0 WHEN w.counts THEN l.attempt_count ELSE l.attempt_count - 1 END,
       last_error_code = CASE WHEN w.ending = 'released' THEN l.last_error_code ELSE w.error_code END,
       dead_letter_id = CASE WHEN w.ending = 'applied' THEN NULL ELSE coalesce(w.letter_id, l.dead_letter_id) END,
       lease_owner = NULL, lease_until = NULL, updated_at = now()
  FROM w
 WHERE l.mentor_id = w.mentor_id AND l.generation = w.generation AND l.lease_owner = %(owner)s
RETURNING l.mentor_id::text
"""  # noqa: S608 - a constant of ours

# A call that ended outside its lease may have changed what Dynamics shows after the next owner's call: everybody looks again.
_LOST = """
UPDATE hlf_sync.mentor_ledger
   SET reevaluate_at = now(), intended = coalesce(intended, applied, 'hidden'),
       doubt_until = greatest(doubt_until, now()), state = CASE state WHEN 'in_sync' THEN 'in_doubt' ELSE state END, updated_at = now()
 WHERE mentor_id = ANY (%s::uuid[])
"""

_RESOLVE = "UPDATE hlf_sync.dynamics_sync_failures SET resolved_at = now() WHERE mentor_id = ANY (%s::uuid[]) AND resolved_at IS NULL"

_FAIL = """
INSERT INTO hlf_sync.dynamics_sync_failures (mentor_id, certification_id, error_code, retry_count, dead_letter_id)
SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::int[], %s::text[])
ON CONFLICT (dead_letter_id) DO NOTHING
"""

# A settlement bumps no generation, so one decided long ago may come late. It ends no doubt that came meanwhile, and moves a look that is still to
# come only nearer: a look too early finds nothing to do.
_SETTLE = """
UPDATE hlf_sync.mentor_ledger l
   SET state = w.state, attempt_count = 0, dead_letter_id = NULL, updated_at = now(),
       reevaluate_at = CASE WHEN l.reevaluate_at > now() THEN least(l.reevaluate_at, to_timestamp(w.reevaluate_at))
                            ELSE to_timestamp(w.reevaluate_at) END
  FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::float8[]) AS w (mentor_id, generation, state, reevaluate_at)
 WHERE l.mentor_id = w.mentor_id AND l.generation = w.generation AND l.intended IS NULL AND (l.lease_until IS NULL OR l.lease_until <= now())
RETURNING l.mentor_id::text
"""

# In shadow nothing is called, so what is due is kept as pending; going live asks for all of it (scheduler).
_OWE = """
INSERT INTO hlf_sync.mentor_ledger AS l (mentor_id, state, triggered_by)
SELECT * FROM unnest(%(mentors)s::uuid[], %(states)s::text[], %(triggers)s::text[])
ON CONFLICT (mentor_id) DO UPDATE
   SET state = excluded.state, triggered_by = excluded.triggered_by, attempt_count = 0, lease_owner = NULL, lease_until = NULL,
       doubt_until = CASE WHEN l.lease_owner IS NULL THEN l.doubt_until
                          ELSE greatest(l.doubt_until, l.lease_until + make_interval(secs => %(late_s)s)) END, updated_at = now()
 WHERE l.lease_until IS NULL OR l.lease_until <= now()
RETURNING mentor_id::text
"""

_REFUSE = """
INSERT INTO hlf_sync.mentor_ledger AS l (mentor_id, state, generation, last_error_code, dead_letter_id, triggered_by)
VALUES (%(mentor)s, 'dead_lettered', %(generation)s, %(code)s, %(letter)s, %(trigger)s)
ON CONFLICT (mentor_id) DO UPDATE
   SET state = 'dead_lettered', generation = excluded.generation, last_error_code = excluded.last_error_code,
       dead_letter_id = excluded.dead_letter_id, triggered_by = excluded.triggered_by,
       doubt_until = CASE WHEN l.lease_owner IS NULL THEN l.doubt_until
                          ELSE greatest(l.doubt_until, l.lease_until + make_interval(secs => %(late_s)s)) END,
       lease_owner = NULL, lease_until = NULL, updated_at = now()
 WHERE l.generation IN (excluded.generation - 1, excluded.generation) AND (l.lease_until IS NULL OR l.lease_until <= now())
RETURNING mentor_id
"""

_HOLD = "INSERT INTO hlf_sync.held_removal (mentor_id) SELECT * FROM unnest(%s::uuid[]) ON CONFLICT (mentor_id) DO NOTHING"

# A removal that is no longer due waits for nobody's word, and an older word lets no later one through.
_UNHOLD = "DELETE FROM hlf_sync.held_removal WHERE mentor_id = ANY (%s::uuid[])"

_ASK = "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason)"

# Counted under a lock, so that two workers' claims can't both use the last free place.
_GUARD_LOCK = "SELECT pg_advisory_xact_lock(hashtext('hlf_sync.mass_removal'))"
_GUARD_COUNT = """
SELECT (SELECT count(*) FROM hlf_sync.mentor_ledger
         WHERE removal_at > now() - make_interval(secs => %(window_s)s) AND NOT removal_confirmed),
       (SELECT count(*) FROM hlf_sync.mentor_ledger WHERE applied = 'visible'),
       EXISTS (SELECT FROM hlf_sync.halt WHERE reason = 'mass_removal'),
       ARRAY(SELECT mentor_id::text FROM hlf_sync.held_removal
              WHERE confirmed_at > now() - interval '1 day' AND mentor_id = ANY (%(mentors)s::uuid[])),
       ARRAY(SELECT mentor_id::text FROM hlf_sync.mentor_ledger WHERE mentor_id = ANY (%(mentors)s::uuid[])
              AND removal_at > now() - make_interval(secs => %(window_s)s))
"""
_RELEASE = "DELETE FROM hlf_sync.held_removal WHERE confirmed_at IS NOT NULL AND mentor_id = ANY (%s::uuid[])"
_GUARD_HALT = "INSERT INTO hlf_sync.halt (reason, detail) VALUES (%s, %s) ON CONFLICT (reason) DO NOTHING"


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

    async def claim(self, claims: Sequence[Claim]) -> Mapping[MentorId, Claimed]:
        """Write intents and take leases."""
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                if self._policy.mass_removal.is_on and any(claim.is_counted_removal for claim in claims):
                    async with connection.transaction():
                        return await self._claim(connection, *await self._guarded(connection, claims))
                return await self._claim(connection, claims)

    async def _claim(self, connection: AsyncConnection[TupleRow], claims: Sequence[Claim], confirmed: Sequence[str] = ()) -> dict[MentorId, Claimed]:
        if not claims:
            return {}
        cursor = await connection.execute(
            _CLAIM,
            {
                "owner": self._policy.owner,
                "lease_s": self._policy.lease_s,
                "late_s": self._policy.late_effect_s,
                "mentors": array(claim.mentor_id for claim in claims),
                "intended": array(claim.operation.wanted.value for claim in claims),
                "generations": array(claim.generation + 1 for claim in claims),
                "triggers": array(claim.triggered_by.value for claim in claims),
                "counted": array(claim.is_counted_removal for claim in claims),
                "confirmed": list(confirmed),
                "window_s": self._policy.mass_removal.window_s,
            },
        )
        return {MentorId(row[0]): Claimed(*row) for row in await cursor.fetchall()}

    async def _guarded(self, connection: AsyncConnection[TupleRow], claims: Sequence[Claim]) -> tuple[Sequence[Claim], Sequence[str]]:
        policy = self._policy.mass_removal
        counted = [claim.mentor_id for claim in claims if claim.is_counted_removal]
        await connection.execute(_GUARD_LOCK)
        cursor = await connection.execute(_GUARD_COUNT, {"window_s": policy.window_s, "mentors": counted})
        removed, listed, is_halted, confirmed, counted_before = await cursor.fetchone() or (0, 0, False, [], [])
        allowed = 0 if is_halted else removals_allowed(policy, removed=removed, listed=listed)
        free = {*confirmed, *counted_before} if not is_halted else set(confirmed)
        held = [mentor_id for mentor_id in counted if mentor_id not in free][allowed:]
        if held:
            await connection.execute(_HOLD, (held,))
            detail = f"{removed} of {listed} listed mentors removed within {policy.window_s:.0f} s; more wait for confirm-removals"
            await connection.execute(_GUARD_HALT, (HaltReason.MASS_REMOVAL.value, detail))
        if confirmed:
            await connection.execute(_RELEASE, (confirmed,))
        return [claim for claim in claims if claim.mentor_id not in held], confirmed

    async def record(self, deliveries: Sequence[Delivered]) -> set[MentorId]:
        """Record what came of claims."""
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                letters = [d for d in deliveries if d.dead_letter_id]
                healed = [
                    d.claimed.mentor_id
                    for d in deliveries
                    if d.conclusion.ending is Ending.APPLIED and (d.before.dead_letter_id or d.before.state is LedgerState.DEAD_LETTERED)
                ]
                if not letters and not healed:
                    recorded = await self._record(connection, deliveries)
                else:
                    async with connection.transaction():
                        recorded = await self._record(connection, deliveries)
                        await self._note_failures(connection, [d for d in letters if d.claimed.mentor_id in recorded])
                        await connection.execute(_RESOLVE, (healed,))
                lost = [d.claimed.mentor_id for d in deliveries if d.claimed.mentor_id not in recorded and d.conclusion.ending is not Ending.RELEASED]
                if lost:
                    await connection.execute(_LOST, (lost,))
                return recorded

    async def _record(self, connection: AsyncConnection[TupleRow], deliveries: Sequence[Delivered]) -> set[MentorId]:
        ordered = sorted(deliveries, key=attrgetter("claimed.mentor_id"))
        cursor = await connection.execute(
            _RECORD,
            {
                "owner": self._policy.owner,
                "late_s": self._policy.late_effect_s,
                "mentors": array(d.claimed.mentor_id for d in ordered),
                "generations": array(d.claimed.generation for d in ordered),
                "endings": array(d.conclusion.ending.value for d in ordered),
                "states": array(d.conclusion.state.value for d in ordered),
                "wanted": array(d.operation.wanted.value for d in ordered),
                "before_intended": array(d.before.intended and d.before.intended.value for d in ordered),
                "before_state": array(d.before.state and d.before.state.value for d in ordered),
                "counts": array(d.conclusion.counts for d in ordered),
                "claimed_at": array(d.claimed.claimed_at_s for d in ordered),
                "codes": array(d.conclusion.error_code and d.conclusion.error_code.value for d in ordered),
                "letters": array(d.dead_letter_id for d in ordered),
                "reevaluate": array(d.reevaluate_at_s for d in ordered),
                "operations": array(d.operation.value for d in ordered),
                "triggers": array(d.triggered_by.value for d in ordered),
                "attempts": array(d.claimed.attempt_number for d in ordered),
                "statuses": array(d.http_status for d in ordered),
                "durations": array(d.duration_ms for d in ordered),
                "correlations": array(d.correlation_id for d in ordered),
                "reasons": array(d.reason for d in ordered),
                "certifications": array(d.certification_id for d in ordered),
                "contacts": array(d.contact_id for d in ordered),
            },
        )
        return {MentorId(row[0]) for row in await cursor.fetchall()}

    async def _note_failures(self, connection: AsyncConnection[TupleRow], letters: Sequence[Delivered]) -> None:
        await connection.execute(
            _FAIL,
            (
                [d.claimed.mentor_id for d in letters],
                [d.certification_id for d in letters],
                [d.conclusion.error_code and d.conclusion.error_code.value for d in letters],
                [d.claimed.attempt_number for d in letters],
                [d.dead_letter_id for d in letters],
            ),
        )

    async def settle(self, settlements: Sequence[Settlement]) -> set[MentorId]:
        """Record evaluations without a call; a mentor that is at rest owes no failure any more."""
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection, connection.transaction():
                owed = [s for s in settlements if s.state is LedgerState.PENDING]
                rest = sorted((s for s in settlements if s.state is not LedgerState.PENDING), key=attrgetter("mentor_id"))
                settled: set[MentorId] = set()
                if rest:
                    cursor = await connection.execute(
                        _SETTLE,
                        (
                            [s.mentor_id for s in rest],
                            [s.generation for s in rest],
                            [s.state.value for s in rest],
                            [s.reevaluate_at_s for s in rest],
                        ),
                    )
                    settled |= {MentorId(row[0]) for row in await cursor.fetchall()}
                    await connection.execute(_RESOLVE, (list(settled),))
                    await connection.execute(_UNHOLD, (list(settled),))
                if owed:
                    rows = sorted(owed, key=attrgetter("mentor_id"))
                    values = {
                        "mentors": array(s.mentor_id for s in rows),
                        "states": array(s.state.value for s in rows),
                        "triggers": array(s.triggered_by.value for s in rows),
                        "late_s": self._policy.late_effect_s,
                    }
                    cursor = await connection.execute(_OWE, values)
                    settled |= {MentorId(row[0]) for row in await cursor.fetchall()}
                return settled

    async def refuse(self, letter: DeadLetter, generation: int) -> bool:
        """Record a dead letter that needed no claim; `generation` is the letter's own."""
        values = {
            "mentor": letter.mentor_id,
            "generation": generation,
            "code": letter.error_code,
            "letter": letter.id,
            "trigger": letter.triggered_by and letter.triggered_by.value,
            "late_s": self._policy.late_effect_s,
        }
        failure = ([letter.mentor_id], [letter.certification_id], [letter.error_code], [letter.attempt_count], [letter.id])
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection, connection.transaction():
                cursor = await connection.execute(_REFUSE, values)
                if await cursor.fetchone() is None:
                    return False
                await connection.execute(_FAIL, failure)
                return True

    async def hold_removals(self, mentor_ids: Sequence[MentorId]) -> None:
        """Note removals that wait for an operator's word."""
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                await connection.execute(_HOLD, (list(mentor_ids),))

    async def ask(self, mentor_ids: Sequence[MentorId], triggered_by: Trigger, reason: str) -> None:
        """Insert sync requests for these mentors."""
        await self._ask("SELECT * FROM unnest(%(mentors)s::uuid[])", triggered_by, reason, mentors=array(mentor_ids))

    async def ask_all(self, triggered_by: Trigger, reason: str, *, only_if_known: bool = False) -> int:
        """Insert sync requests for all in the view and in the ledger; the number of requests. `only_if_known`: not while the ledger is empty."""
        everybody = "SELECT mentor_id FROM hlf_sync.mentor_facts UNION SELECT mentor_id FROM hlf_sync.mentor_ledger"
        condition = " WHERE EXISTS (SELECT FROM hlf_sync.mentor_ledger)" if only_if_known else ""
        return await self._ask(everybody, triggered_by, reason, condition)

    async def _ask(self, wanted: str, triggered_by: Trigger, reason: str, condition: str = "", **values: str) -> int:
        statement = f"{_ASK} SELECT m.mentor_id, %(trigger)s, %(owner)s, %(reason)s FROM ({wanted}) AS m (mentor_id){condition}"  # noqa: S608 - constants
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                cursor = await connection.execute(statement, {"trigger": triggered_by.value, "owner": self._policy.owner, "reason": reason, **values})
                return cursor.rowcount

    async def note_failure(self, letter: DeadLetter) -> None:
        """Note a dead letter about an unreadable record whose key names a mentor; the ledger row is another matter (the scheduler resolves it)."""
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                await connection.execute(_FAIL, ([letter.mentor_id], [None], [letter.error_code], [letter.attempt_count], [letter.id]))
