"""What a direct call does in PostgreSQL: claim with somebody to look again, hand over to the
workers, and not wait for ever.

Used by `direct_call`. The ledger's own statements are postgres/ledger's; here they are joined with
ours in one transaction.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import cast
from uuid import uuid4

from hlf_sync.core.mass_removal import takes_off_listing
from hlf_sync.core.model import Command, MentorId, Operation, Trigger
from hlf_sync.core.outcome import RELEASED, Claim, Claimed
from hlf_sync.errors import DependencyError
from hlf_sync.ports import Delivered, Known
from hlf_sync.postgres.connections import Connection, Pool, reaching
from hlf_sync.postgres.ledger import Ledger, LedgerPolicy

# The gate waits for PostgreSQL for ever, as a worker must; whoever called us wants to know.
_DATABASE_S = 6.0

_WATCH = (
    "UPDATE hlf_sync.mentor_ledger SET reevaluate_at = least(reevaluate_at, lease_until) WHERE"
    " mentor_id = %s AND generation = %s"
)
_RETRY = """
UPDATE hlf_sync.mentor_ledger SET reevaluate_at = least(reevaluate_at, now() + make_interval(secs => %s))
 WHERE mentor_id = %s AND generation = %s AND lease_owner IS NULL
"""


@dataclass(frozen=True, slots=True)
class DirectClaim:
    """A claimed mentor. `before` is what the first look knew; `deadline_s` is when the lease ends,
    monotonic; `ledger` owns the lease.
    """

    before: Known
    claimed: Claimed
    operation: Operation
    ledger: Ledger
    probe: str | None
    deadline_s: float


class DirectLedger:
    """Claims for one process; each has a lease of its own, so that two of them exclude each other
    as well.
    """

    def __init__(self, pool: Pool, policy: LedgerPolicy) -> None:
        self._pool = pool
        self._policy = policy

    async def claim(
        self, mentor_id: MentorId, operation: Operation, known: Known, probe: str | None
    ) -> DirectClaim | None:
        """The claim, and who looks again should this process end, in one transaction; None when the
        mentor is not to be had.
        """
        policy = replace(self._policy, owner=f"{self._policy.owner}-{uuid4().hex[:8]}")
        is_counted = takes_off_listing(Command(operation, "library"), known.ledger)
        claim = Claim(mentor_id, known.ledger.generation, operation, Trigger.MANUAL, is_counted)
        deadline_s = asyncio.get_running_loop().time() + policy.lease_s
        with reaching("PostgreSQL"):
            async with answering(), self._pool.connection() as connection, connection.transaction():
                claimed = (await Ledger(cast("Pool", _One(connection)), policy).claim([claim])).get(
                    mentor_id
                )
                if claimed is None:
                    return None
                await connection.execute(_WATCH, (mentor_id, claimed.generation))
        return DirectClaim(known, claimed, operation, Ledger(self._pool, policy), probe, deadline_s)

    async def give_back(self, held: DirectClaim) -> None:
        """No call was made: as if never claimed."""
        async with answering():
            await held.ledger.record(
                [
                    Delivered(
                        held.claimed, held.before.ledger, held.operation, Trigger.MANUAL, RELEASED
                    )
                ]
            )

    async def look_again(self, held: DirectClaim, delay_s: float) -> None:
        """Let the workers look at a recorded mentor when the wait is over."""
        with reaching("PostgreSQL"):
            async with answering(), self._pool.connection() as connection:
                await connection.execute(
                    _RETRY, (delay_s, held.claimed.mentor_id, held.claimed.generation)
                )

    async def ask(self, mentor_id: MentorId) -> None:
        """Ask the workers for the mentor, through the one door."""
        async with answering():
            await Ledger(self._pool, self._policy).ask([mentor_id], Trigger.MANUAL, "library")


class _One:
    """One connection in a pool's place, so that what the ledger writes joins our transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Give the connection."""
        yield self._connection


@asynccontextmanager
async def answering() -> AsyncIterator[None]:
    """Not for ever: `DependencyError` when PostgreSQL stays away."""
    try:
        async with asyncio.timeout(_DATABASE_S):
            yield
    except TimeoutError as error:
        raise DependencyError("PostgreSQL", "no answer in time") from error
