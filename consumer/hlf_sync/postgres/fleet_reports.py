"""The leading worker's report of the fleet: written by the leader, read by commands. The web service
reads it through its view.
"""

from collections.abc import Sequence

from hlf_sync.core.fleet_verdict import Reason
from hlf_sync.postgres.connections import Pool, reaching

# What held when it was reported last, and holds now, has held since then: also over a change of leader.
_WRITE = """
INSERT INTO hlf_sync.fleet_verdict (organization, reasons)
SELECT %(organization)s, coalesce(jsonb_agg(jsonb_build_object('reason', r.reason, 'since_s', coalesce(
           (SELECT (o ->> 'since_s')::float8 FROM hlf_sync.fleet_verdict v, jsonb_array_elements(v.reasons) o
             WHERE v.organization = %(organization)s AND o ->> 'reason' = r.reason LIMIT 1),
           extract(epoch FROM now())::float8 - r.age_s)) ORDER BY r.place), '[]')
  FROM unnest(%(reasons)s::text[], %(ages)s::float8[]) WITH ORDINALITY AS r (reason, age_s, place)
ON CONFLICT (organization) DO UPDATE SET reasons = excluded.reasons, reported_at = now()
"""

# As core/fleet_report.report_of takes it; connectors/sql/02_source.sql gives the web service the same.
READ = """
SELECT jsonb_build_object('reasons', reasons, 'reported_s', extract(epoch FROM reported_at)::float8,
           'age_s', extract(epoch FROM now() - greatest(reported_at, pg_postmaster_start_time()))::float8)
  FROM hlf_sync.fleet_verdict WHERE organization = %(organization)s
"""


async def write(pool: Pool, organization: str, reasons: Sequence[tuple[Reason, float]]) -> None:
    """Report these; each with the seconds for which it holds already. Raises `DependencyError`."""
    values = {
        "organization": organization,
        "reasons": [reason.value for reason, _ in reasons],
        "ages": [age_s for _, age_s in reasons],
    }
    with reaching("PostgreSQL"):
        async with pool.connection() as connection:
            await connection.execute(_WRITE, values)
