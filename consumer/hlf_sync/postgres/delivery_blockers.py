"""What stands in the way of every delivery: circuit, halts, whether a worker runs at all, and what the
leading one reports. Read by `why`, `reconcile`, `pending` and every `--wait`; changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import TupleRow, tuple_row

from hlf_sync.core.fleet_report import FleetReport, in_words, report_of
from hlf_sync.core.fleet_verdict import halt_words
from hlf_sync.core.halts import stops
from hlf_sync.core.model import Operation
from hlf_sync.postgres import fleet_reports
from hlf_sync.postgres.connections import Pool, reaching
from hlf_sync.postgres.workers import IS_ANY_THERE

# Workers elect a leader by a session's advisory lock (scheduler): who holds it runs, and is
# connected. Between two leaders the others have written lately that they are there.
_READ = f"""
SELECT extract(epoch FROM now())::float8,
       coalesce((SELECT state FROM hlf_sync.circuit WHERE organization = %(organization)s), 'closed'),
       (SELECT extract(epoch FROM opened_at)::float8 FROM hlf_sync.circuit WHERE organization = %(organization)s),
       (SELECT last_error_code FROM hlf_sync.circuit WHERE organization = %(organization)s),
       (SELECT extract(epoch FROM retry_after_until)::float8 FROM hlf_sync.circuit WHERE organization = %(organization)s),
       {IS_ANY_THERE} OR
       EXISTS (SELECT FROM pg_locks l
                WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
                  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                  AND (l.classid::bigint << 32 | l.objid::bigint) = hashtext('hlf_sync.leader')::bigint),
       ({fleet_reports.READ})
"""  # noqa: S608 - constants of ours
# A pause of all, told beside the halts.
PAUSED = "paused"
_HALTS = (
    "SELECT reason, extract(epoch FROM since)::float8, detail FROM hlf_sync.halt UNION ALL"
    " SELECT 'paused', extract(epoch FROM since)::float8, 'by ' || paused_by || ': ' || reason FROM"
    " hlf_sync.pause WHERE mentor_id IS NULL ORDER BY 2"
)


@dataclass(frozen=True, slots=True)
class Halted:
    """One halt; `detail` is our own sentence."""

    reason: str
    since_s: float
    detail: str


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Times are epoch seconds by PostgreSQL's clock. `has_worker`: somebody leads, or was there
    within 15 s.
    """

    now_s: float
    circuit: str
    opened_s: float | None
    last_error_code: str | None
    pause_until_s: float | None
    has_worker: bool
    halts: tuple[Halted, ...]
    report: FleetReport | None = None

    @property
    def is_clear(self) -> bool:
        """Whether a delivery could be made now."""
        return self.has_worker and not self.obstacles()

    def obstacles(self, *, is_removal: bool = True) -> list[str]:
        """What stops calls, one line each; the mass change guard stops removals only."""
        lines = [
            f"halted: {halt_words(h.reason)}"
            for h in self.halts
            if stops(h.reason, Operation.REMOVE if is_removal else Operation.RESTORE)
        ]
        if self.circuit != "closed":
            lines.append(
                f"the circuit is {self.circuit.replace('_', '-')}"
                + (f" ({self.last_error_code})" if self.last_error_code else "")
            )
        if (self.pause_until_s or 0.0) > self.now_s:
            lines.append("Dynamics asked for a pause")
        return lines

    def reported(self) -> list[str]:
        """That no worker is at work, or what the leading one says does not move; a line each."""
        return in_words(self.report, self.now_s, has_worker=self.has_worker)


async def read(pool: Pool, organization: str) -> Surroundings:
    """Read them."""
    with reaching("PostgreSQL"):
        async with pool.connection() as connection:
            row = await (await connection.execute(_READ, {"organization": organization})).fetchone()
            halts = await (await connection.execute(_HALTS)).fetchall()
    return _surroundings(row, halts)


def look(connection: psycopg.Connection[Any], organization: str) -> Surroundings:
    """The same, on an operator's connection."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_READ, {"organization": organization}).fetchone()
        halts = cursor.execute(_HALTS).fetchall()
    return _surroundings(row, halts)


def _surroundings(row: TupleRow | None, halts: Sequence[TupleRow]) -> Surroundings:
    assert row is not None  # noqa: S101 - a statement without FROM gives one row
    now_s, circuit, opened_s, code, pause_until_s, has_worker, report = row
    return Surroundings(
        now_s,
        circuit,
        opened_s,
        code,
        pause_until_s,
        has_worker,
        tuple(Halted(*halt) for halt in halts),
        report_of(report),
    )
