"""What the leader asks for and prunes each second: what time alone makes due, and its locks."""

from hlf_sync.postgres.statements import letters

# Confirmed removals that nobody needed: their mentors were put right meanwhile. The word holds for
# a day (the ledger looks at it too).
PRUNE = (
    "DELETE FROM hlf_sync.held_removal WHERE confirmed_at < now() - interval '1 day'",
    "DELETE FROM hlf_sync.history WHERE ended_at < now() - interval '1 year'",
    "DELETE FROM hlf_sync.worker WHERE seen_at < now() - interval '1 day'",
)

# In batches, since the leader must not stand still for long, nor hold a long transaction: a day on which
# everybody was asked for ends a month later in one hour.
PRUNE_REQUESTS = """
DELETE FROM hlf_sync.sync_request WHERE id IN (
  SELECT id FROM hlf_sync.sync_request WHERE created_at < now() - interval '30 days' LIMIT %(batch)s)
"""

# What `why` tells of calls; each mentor's last one stays.
PRUNE_ATTEMPTS = """
DELETE FROM hlf_sync.delivery_attempt WHERE id IN (
  SELECT id FROM hlf_sync.delivery_attempt a WHERE started_at < now() - make_interval(days => %(days)s)
     AND EXISTS (SELECT FROM hlf_sync.delivery_attempt newer WHERE newer.mentor_id = a.mentor_id AND newer.id > a.id) LIMIT %(batch)s)
"""

# Shadow leaves what is due as pending without a call, and its offset is committed: a live leader
# asks for it, once. At the election for all; later for what has been pending so long that no worker
# can be about to call (a shadow worker that was still running, say). Likewise for who is in doubt: a
# worker that had not heard yet that its partition is another's has dropped the retry, or died in the
# call, and the offsets are committed. Who is looked at within %(doubt_s)s anyway is left alone; a look
# that is planned for later, at a certificate's end, is not the one that is owed, and the look that is
# asked for here plans it again. A request that seems to come from the future (a clock that was ahead)
# does not count.
OWED = """
UPDATE hlf_sync.mentor_ledger l SET reevaluate_at = now()
 WHERE (reevaluate_at IS NULL OR reevaluate_at > now() + make_interval(secs => %(doubt_s)s))
   AND (lease_until IS NULL OR lease_until <= now())
   AND (state = 'pending' AND updated_at <= now() - make_interval(secs => %(pending_s)s)
        OR state = 'in_doubt' AND updated_at <= now() - make_interval(secs => %(doubt_s)s))
   AND NOT EXISTS (SELECT FROM hlf_sync.sync_request r
                    WHERE r.mentor_id = l.mentor_id AND r.requested_by = 'scheduler' AND r.created_at > l.updated_at
                      AND r.created_at <= now() + interval '1 minute')
   AND NOT EXISTS (SELECT FROM hlf_sync.pause p WHERE p.mentor_id IS NULL OR p.mentor_id = l.mentor_id)
"""

# Letters about records that could not be read: the ledger row does not name them, so whoever brings
# the mentor to rest does not see them.
RESOLVE = """
UPDATE hlf_sync.dynamics_sync_failures f SET resolved_at = now() FROM hlf_sync.mentor_ledger l
 WHERE f.resolved_at IS NULL AND l.mentor_id = f.mentor_id AND l.state IN ('in_sync', 'out_of_scope') AND l.updated_at > f.attempted_at
"""

# A queue of notifications that a sleeping listener has filled goes on failing everybody's COMMIT after
# it has read, until somebody asks for this figure (findings/one_idle_listener_stops_commits.sh).
NOTIFICATIONS = "pg_notification_queue_usage()"

# Each second in one statement, since a statement costs an idle leader more than what it finds. The count
# is that of before the resolving: a letter that is resolved now is not open at the next turn.
BOOKS = f"""
WITH resolved AS ({RESOLVE})
SELECT open, oldest_s, {NOTIFICATIONS} FROM ({letters.COUNT}) AS counted
"""  # noqa: S608 - constants of ours

LEADER = "hlf_sync.leader"

LEADER_LOCK = f"SELECT pg_try_advisory_lock(hashtext('{LEADER}'))"

# As the replay's desk takes it.
REPLAY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('hlf_sync.replay'))"

# The message makes the log grow where nobody writes; Debezium passes over it.
SLOT_POSITIONS = """
SELECT pg_wal_lsn_diff(s.confirmed_flush_lsn, '0/0')::bigint, pg_wal_lsn_diff(m.lsn, '0/0')::bigint, s.active
  FROM pg_replication_slots s, LATERAL (SELECT pg_logical_emit_message(false, 'hlf-sync', '') AS lsn) m
 WHERE s.slot_name = %s AND s.confirmed_flush_lsn IS NOT NULL AND NOT pg_is_in_recovery()
"""
