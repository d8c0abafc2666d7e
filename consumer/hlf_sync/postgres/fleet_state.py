"""What all workers share: the circuit and the halts, one row each, changed by compare-and-set; beside
them whether a dead letter is open.
`FleetPort` on PostgreSQL.

The transitions are core/breaker's; here a row is read with PostgreSQL's clock, moved, and written
only if nobody moved it meanwhile.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from math import inf
from time import monotonic
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from hlf_sync.core import breaker
from hlf_sync.core.breaker import BreakerPolicy, Circuit, State
from hlf_sync.core.model import HaltReason, MentorId
from hlf_sync.ports import Fleet
from hlf_sync.postgres.connections import Pool, reaching
from hlf_sync.postgres.statements import letters

# Where thousands of letters were closed, the look costs milliseconds; circuit and halts are read at each
# call that counts.
_LETTERS_EVERY_S = 1.0

_READ = f"""
SELECT extract(epoch FROM clock_timestamp())::float8, ARRAY(SELECT reason FROM hlf_sync.halt),
       c.state, c.failure_count, extract(epoch FROM c.opened_at)::float8, c.last_error_code, c.probe_owner,
       extract(epoch FROM c.probe_until)::float8, extract(epoch FROM c.retry_after_until)::float8,
       extract(epoch FROM c.closed_at)::float8, c.suspects, extract(epoch FROM c.proved_at)::float8,
       extract(epoch FROM c.accepted_at)::float8,
       h.since, h.probe_after,
       (SELECT extract(epoch FROM e.began_at)::float8 FROM hlf_sync.history e
         WHERE e.kind = 'circuit' AND e.subject = o.organization AND e.ended_at IS NULL),
       CASE WHEN %s THEN {letters.EXIST} END, c.version
  FROM (VALUES (%s)) AS o (organization) LEFT JOIN hlf_sync.circuit c USING (organization)
  LEFT JOIN LATERAL (SELECT extract(epoch FROM since)::float8 AS since, extract(epoch FROM probe_after)::float8 AS probe_after
                       FROM hlf_sync.halt WHERE reason = 'auth') h ON true
"""  # noqa: S608 - a constant of ours

_WRITE = """
INSERT INTO hlf_sync.circuit AS c (organization, state, failure_count, opened_at, last_error_code, probe_owner, probe_until,
                                   retry_after_until, closed_at, suspects, version)
VALUES (%(organization)s, %(state)s, %(failure_count)s, to_timestamp(%(opened_at_s)s), %(last_error_code)s, %(probe_owner)s,
        to_timestamp(%(probe_until_s)s), to_timestamp(%(retry_after_until_s)s), to_timestamp(%(closed_at_s)s), %(suspects)s, %(version)s + 1)
ON CONFLICT (organization) DO UPDATE
   SET state = excluded.state, failure_count = excluded.failure_count, opened_at = excluded.opened_at,
       last_error_code = excluded.last_error_code, probe_owner = excluded.probe_owner, probe_until = excluded.probe_until,
       retry_after_until = excluded.retry_after_until, closed_at = excluded.closed_at, suspects = excluded.suspects,
       version = excluded.version
 WHERE c.version = %(version)s
RETURNING version
"""

# A halt that a token would lift becomes one that a probing request must lift, and not the other way.
_HALT = """
INSERT INTO hlf_sync.halt AS h (reason, detail, probe_after) VALUES (%s, %s, CASE WHEN %s THEN now() END)
ON CONFLICT (reason) DO UPDATE SET detail = excluded.detail, probe_after = excluded.probe_after
 WHERE h.probe_after IS NULL AND excluded.probe_after IS NOT NULL
"""
_PROOF = """
UPDATE hlf_sync.halt SET probe_after = now() + make_interval(secs => %s) WHERE reason = 'auth' AND probe_after <= now() RETURNING reason
"""
_ACCEPTED = """
WITH gone AS (DELETE FROM hlf_sync.halt WHERE reason = 'auth' AND probe_after IS NULL)
INSERT INTO hlf_sync.circuit AS c (organization, accepted_at) VALUES (%s, clock_timestamp())
ON CONFLICT (organization) DO UPDATE SET accepted_at = excluded.accepted_at
"""
_PROVED = """
WITH gone AS (DELETE FROM hlf_sync.halt WHERE reason = 'auth')
INSERT INTO hlf_sync.circuit AS c (organization, proved_at) VALUES (%s, clock_timestamp())
ON CONFLICT (organization) DO UPDATE SET proved_at = excluded.proved_at
"""
_LIFT = "DELETE FROM hlf_sync.halt WHERE reason = %s"


class FleetTable:
    """The shared rows of one organisation."""

    def __init__(self, pool: Pool, organization: str, policy: BreakerPolicy) -> None:
        self._pool = pool
        self._organization = organization
        self._policy = policy
        self._has_open_letter = False
        self._letters_at_s = -inf

    async def read(self) -> Fleet:
        """Read circuit and halts; a circuit whose cool-down has passed becomes half-open for
        everybody.
        """
        return await self._move(lambda circuit, now_s: breaker.cooled(circuit, self._policy, now_s))

    async def take_probe(self, owner: str, mentor_id: MentorId) -> Fleet:
        """Try to become the one probe of a half-open circuit; the answer's `probe_owner` says who
        is.
        """
        return await self._move(
            lambda circuit, now_s: (
                breaker.take_probe(circuit, self._policy, owner, now_s, mentor_id=mentor_id)
                or circuit
            )
        )

    async def succeeded(self, owner: str | None, started_s: float) -> Fleet:
        """A call succeeded."""
        return await self._move(
            lambda circuit, now_s: breaker.succeeded(circuit, owner, now_s, started_s=started_s)
        )

    async def failed(
        self,
        owner: str | None,
        started_s: float,
        error_code: str,
        retry_after_s: float | None,
        mentor_id: MentorId,
    ) -> Fleet:
        """A call failed in a way that counts for the breaker."""
        return await self._move(
            lambda circuit, now_s: breaker.failed(
                circuit,
                self._policy,
                owner,
                now_s,
                error_code=error_code,
                started_s=started_s,
                mentor_id=mentor_id,
                retry_after_s=retry_after_s,
            )
        )

    async def abandoned(self, owner: str) -> Fleet:
        """The probe came to no judgement."""
        return await self._move(lambda circuit, now_s: breaker.abandoned(circuit, owner, now_s))

    async def throttled(self, retry_after_s: float, owner: str | None) -> Fleet:
        """Dynamics asked for a pause of everybody."""
        return await self._move(
            lambda circuit, now_s: breaker.throttled(circuit, now_s + retry_after_s, owner)
        )

    async def halt(self, reason: HaltReason, detail: str, *, needs_probe: bool = False) -> Fleet:
        """Stop calls for everybody."""
        await self._execute(_HALT, (reason.value, detail, needs_probe))
        return await self.read()

    async def take_proof(self, wait_s: float) -> bool:
        """Whether this caller may make the one probing request; the next one `wait_s` later."""
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                return await (await connection.execute(_PROOF, (wait_s,))).fetchone() is not None

    async def accepted(self) -> Fleet:
        """Some worker's credentials are accepted: the halt is lifted, unless Dynamics itself
        refuses.
        """
        await self._execute(_ACCEPTED, (self._organization,))
        return await self.read()

    async def proved(self) -> Fleet:
        """Dynamics accepted the probing request: the halt is lifted."""
        await self._execute(_PROVED, (self._organization,))
        return await self.read()

    async def lift(self, reason: HaltReason) -> Fleet:
        """The reason is gone."""
        await self._execute(_LIFT, (reason.value,))
        return await self.read()

    async def _execute(self, statement: str, values: Sequence[Any]) -> None:
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                await connection.execute(statement, values)

    async def _move(self, move: Callable[[Circuit, float], Circuit]) -> Fleet:
        """Read, move, write if nobody moved it meanwhile; again until that holds."""
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                while True:
                    fleet, version = await self._read(connection)
                    moved = move(fleet.circuit, fleet.now_s)
                    if moved is fleet.circuit or await self._write(connection, moved, version):
                        return replace(fleet, circuit=moved)

    async def _read(self, connection: AsyncConnection[TupleRow]) -> tuple[Fleet, int]:
        looks = monotonic() - self._letters_at_s >= _LETTERS_EVERY_S
        row = await (await connection.execute(_READ, (looks, self._organization))).fetchone()
        assert row is not None  # noqa: S101 - VALUES gives one row
        (
            now_s,
            halts,
            state,
            *rest,
            suspects,
            proved_at_s,
            accepted_at_s,
            since_s,
            probe_after_s,
            first_opened_s,
            has_open_letter,
            version,
        ) = row
        if looks:
            self._has_open_letter, self._letters_at_s = has_open_letter, monotonic()
        circuit = Circuit(State(state), *rest) if state else Circuit()
        circuit = replace(circuit, suspects=tuple(suspects or ()))
        reasons = frozenset(map(HaltReason, halts))
        fleet = Fleet(
            circuit,
            reasons,
            now_s,
            since_s,
            probe_after_s,
            proved_at_s,
            accepted_at_s,
            first_opened_s,
            self._has_open_letter,
        )
        return fleet, version or 0

    async def _write(
        self, connection: AsyncConnection[TupleRow], circuit: Circuit, version: int
    ) -> bool:
        values = {
            **asdict(circuit),
            "suspects": list(circuit.suspects),
            "organization": self._organization,
            "version": version,
        }
        return await (await connection.execute(_WRITE, values)).fetchone() is not None
