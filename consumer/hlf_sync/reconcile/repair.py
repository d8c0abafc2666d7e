"""`--repair`: puts what differs in doubt, so that it is delivered whatever the ledger believed, and
asks for a look. The one place that writes.

Doubt and request are one transaction. A row that moved since it was looked at (another generation,
a lease) is left alone, its worker knows better; the request is made all the same, and costs a look.
The new generation makes decisions void that a worker made before the doubt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hlf_sync.core.model import MentorId, Visibility
from hlf_sync.operate import operator
from hlf_sync.postgres.connections import Pool, reaching
from hlf_sync.postgres.statements import reconcile as sql
from hlf_sync.postgres.statements import sync_request
from hlf_sync.reconcile.difference import Remedy

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Order:
    """One repair. `generation` is the ledger's as it was looked at."""

    mentor_id: MentorId
    kind: str
    remedy: Remedy
    wanted: Visibility | None
    generation: int


async def repair(pool: Pool, orders: Sequence[Order]) -> None:
    """Write them, some hundred at a time."""
    for start in range(0, len(orders), _BATCH):
        batch = sorted(orders[start : start + _BATCH], key=lambda order: order.mentor_id)
        doubted = [
            order for order in batch if order.remedy is Remedy.DELIVER and order.wanted is not None
        ]
        doubt = {
            "mentors": [order.mentor_id for order in doubted],
            "wanted": [order.wanted.value for order in doubted if order.wanted is not None],
            "generations": [order.generation for order in doubted],
        }
        ask = {
            "who": operator(),
            "mentors": [order.mentor_id for order in batch],
            "kinds": [order.kind for order in batch],
        }
        with reaching("PostgreSQL"):
            async with pool.connection() as connection, connection.transaction():
                await connection.execute(sql.DOUBT, doubt)
                await connection.execute(sync_request.BY_REPAIR, ask)
