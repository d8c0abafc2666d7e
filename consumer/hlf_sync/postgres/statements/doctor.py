"""What `doctor` asks of the catalogue and of our tables; read only."""

SERVER = """
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number, pg_is_in_recovery() AS is_standby,
       current_setting('wal_level') AS wal_level, extract(epoch FROM clock_timestamp())::float8 AS now_s
"""

OWN_ROLE = """
SELECT current_user AS name, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication,
       ARRAY(SELECT r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
              WHERE m.member = (SELECT oid FROM pg_roles WHERE rolname = current_user)) AS member_of
  FROM pg_roles WHERE rolname = current_user
"""

FOREIGN = """
SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('hlf_sync', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%%'
   AND has_schema_privilege(n.oid, 'USAGE')
   AND (has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE') OR has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE'))
 ORDER BY 1
"""

CDC_ROLE = (
    "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles WHERE"
    " rolname = 'hlf_cdc'"
)

CDC_COLUMNS = """
SELECT p.schemaname || '.' || p.tablename || '.' || a.attname AS name, a.attname = ANY (p.attnames) AS is_published
  FROM pg_publication_tables p
  JOIN pg_namespace n ON n.nspname = p.schemaname
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE p.pubname = %s AND p.tablename <> 'dbz_heartbeat'
   AND has_column_privilege('hlf_cdc', a.attrelid, a.attnum, 'SELECT') <> (a.attname = ANY (p.attnames))
 ORDER BY 1
"""

VERSIONS = "SELECT version, name, sha256 FROM hlf_sync.schema_migration"

VIEW = """
SELECT a.attname AS name, format_type(a.atttypid, NULL) AS type FROM pg_attribute a
 WHERE a.attrelid = to_regclass('hlf_sync.mentor_facts') AND a.attnum > 0 AND NOT a.attisdropped
"""

CIRCUIT = """
SELECT state, failure_count, last_error_code, extract(epoch FROM now() - opened_at)::float8 AS open_s,
       extract(epoch FROM retry_after_until - now())::float8 AS pause_s
  FROM hlf_sync.circuit WHERE organization = %s
"""

HALTS = (
    "SELECT reason, extract(epoch FROM now() - since)::float8 AS for_s FROM hlf_sync.halt ORDER BY"
    " since"
)

PAUSES = """
SELECT count(*) FILTER (WHERE mentor_id IS NULL) AS is_all, count(mentor_id) AS mentors,
       (SELECT paused_by || ': ' || reason FROM hlf_sync.pause WHERE mentor_id IS NULL) AS why,
       coalesce(extract(epoch FROM now() - min(since) FILTER (WHERE mentor_id IS NULL)), 0)::float8 AS all_s,
       coalesce(extract(epoch FROM now() - min(since) FILTER (WHERE mentor_id IS NOT NULL)), 0)::float8 AS oldest_s
  FROM hlf_sync.pause
"""

# A bigint advisory lock as pg_locks shows it: the high half in classid, the low one in objid.
LEADER = """
SELECT count(*) AS leaders FROM pg_locks
 WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND (classid::bigint << 32 | objid::bigint) = hashtext('hlf_sync.leader')::bigint
"""

# to_jsonb, because some columns came with later versions.
SLOT = """
SELECT s.plugin, s.database, current_database() AS here, s.database = current_database() AS is_here, s.active,
       s.wal_status, to_jsonb(s)->>'invalidation_reason' AS invalidated,
       pg_wal_lsn_diff(pg_current_wal_lsn(), s.confirmed_flush_lsn)::bigint AS behind_bytes,
       pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint AS kept_bytes, s.safe_wal_size
  FROM pg_replication_slots s WHERE s.slot_name = %s
"""

HEARTBEAT = (
    "SELECT extract(epoch FROM now() - ts)::float8 AS age_s FROM hlf_sync.dbz_heartbeat WHERE"
    " id = 1"
)

READABLE = """
SELECT DISTINCT n.nspname || '.' || c.relname AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('information_schema') AND n.nspname NOT LIKE 'pg\\_%%'
   AND has_schema_privilege(n.oid, 'USAGE')
   AND (has_table_privilege(c.oid, 'SELECT, UPDATE, DELETE, TRUNCATE') OR has_any_column_privilege(c.oid, 'SELECT, UPDATE'))
 ORDER BY 1
"""

MAY_ASK = """
SELECT to_regclass('hlf_sync.coordinator_view') IS NOT NULL AS has_view,
       to_regclass('hlf_sync.sync_request') IS NOT NULL
       AND has_column_privilege('hlf_sync.sync_request', 'mentor_id', 'INSERT') AS may_ask,
       EXISTS (SELECT FROM pg_trigger WHERE tgname = 'only_as_coordinator' AND tgenabled IN ('O', 'A')) AS is_held
"""

LOG_END = (
    "SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint AS position WHERE NOT"
    " pg_is_in_recovery()"
)

MAY_COPY = "SELECT hlf_sync.may_cdc_copy_cluster() AS may"

ONE_MENTOR = "SELECT 1 FROM hlf_sync.mentor_facts LIMIT 1"
