"""What the leader's look at the fleet asks each ten seconds; read only."""

# to_jsonb, because inactive_since is there from PostgreSQL 17 on only.
SLOT = """
SELECT coalesce(wal_status, 'lost'), active,
       pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::float8, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::float8,
       extract(epoch FROM now() - (to_jsonb(s) ->> 'inactive_since')::timestamptz)::float8
  FROM pg_replication_slots s WHERE slot_name = %s AND NOT pg_is_in_recovery()
"""

BEAT = "SELECT extract(epoch FROM now() - ts)::float8 FROM hlf_sync.dbz_heartbeat WHERE id = 1"

LEDGER = """
SELECT state, coalesce(applied, 'unknown'), count(*), count(lease_owner) FILTER (WHERE lease_until > now()),
       count(lease_owner) FILTER (WHERE lease_until <= now())
  FROM hlf_sync.mentor_ledger GROUP BY 1, 2
"""

COUNTS = """
SELECT (SELECT count(*) FROM hlf_sync.dynamics_sync_failures WHERE resolved_at IS NOT NULL),
       (SELECT count(*) FROM hlf_sync.held_removal WHERE confirmed_at IS NULL),
       EXISTS (SELECT FROM hlf_sync.pause WHERE mentor_id IS NULL), (SELECT count(mentor_id) FROM hlf_sync.pause)
"""
