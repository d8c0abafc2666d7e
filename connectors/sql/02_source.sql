-- What the change stream reads and what the worker may read. Second of the two files an administrator runs, after `hlf-sync migrate`.
--
-- Run by a superuser, or by a role that owns the schema app's tables, may act as hlf_sync, may CREATE in the database and has REPLICATION.
-- Safe to run again, and twice at once; a second run takes no heavy lock, so it may be run while everything works.
-- PostgreSQL 15 or later: column lists and row filters of publications came with it.
--
-- The organisation is HLF. For another one: SET hlf_sync.organization = 'XYZ' in the same session before, and HLF_SYNC_ORGANIZATION alike.
--
-- Large tables: the three indexes on app tables block writers while they are built. Build them before by CREATE INDEX CONCURRENTLY under
-- the same names; this file then finds them.

BEGIN;

SELECT pg_advisory_xact_lock(hashtext('hlf-sync source set-up'));
-- An ALTER TABLE that waits blocks all who come after it. Rather give up: run the file again at a quieter time.
SET LOCAL lock_timeout = '5s';

DO $before$
BEGIN
    IF current_setting('server_version_num')::int < 150000 THEN
        RAISE EXCEPTION 'PostgreSQL % has no column lists in publications: 15 or later is needed', current_setting('server_version');
    END IF;
    IF current_setting('wal_level') <> 'logical' THEN
        RAISE EXCEPTION 'wal_level is %, and must be logical', current_setting('wal_level')
              USING HINT = 'ALTER SYSTEM SET wal_level = logical, then restart PostgreSQL.';
    END IF;
    IF to_regclass('hlf_sync.sync_request') IS NULL THEN
        RAISE EXCEPTION 'the tables of hlf-sync are missing' USING HINT = 'Run `hlf-sync migrate` first.';
    END IF;
END
$before$;

-- ── The facts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
-- One row per mentor with its most recent certification that is not revoked; validity is judged by the reader against this database's now().
-- It reads with its owner's rights, so hlf_sync needs none on the tables behind it. Equal ends: the greater id, so that the answer never flickers.
CREATE OR REPLACE VIEW hlf_sync.mentor_facts AS
SELECT m.id                AS mentor_id,
       m.organization_code AS organization,
       m.status            AS status,
       c.id                AS certification_id,
       c.expires_at        AS certificate_expires_at,
       c.status            AS certificate_status
  FROM app.mentor m
  LEFT JOIN LATERAL (
        SELECT id, expires_at, status
          FROM app.certification
         WHERE mentor_id = m.id AND status <> 'revoked'
         ORDER BY expires_at DESC, id DESC
         LIMIT 1) c ON true;
COMMENT ON VIEW hlf_sync.mentor_facts IS 'The contract between the application and hlf-sync: all that is read of a mentor.';

-- ── Replica identities: what a change's "before" holds ───────────────────────────────────────────────────────────────────────────────────
-- FULL would put every column into the log's "before", and together with a column list makes the application's own UPDATE fail ("column list
-- used by the publication does not cover the replica identity"). DEFAULT leaves mentor_id out of a deleted certification. So: narrow unique
-- indexes of NOT NULL columns that the column lists cover. mentor_ri must hold organization_code, because the row filter looks at "before" too:
-- that is how a mentor that leaves HLF arrives as a delete. Never drop them: the identity would silently become NOTHING.
DO $identity$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES ('app.mentor',        'mentor_ri',        '(id, organization_code, status)'),
                              ('app.certification', 'certification_ri', '(id, mentor_id, status)')) AS t (table_name, index_name, index_columns)
    LOOP
        IF to_regclass('app.' || wanted.index_name) IS NULL THEN
            EXECUTE format('CREATE UNIQUE INDEX %I ON %s %s', wanted.index_name, wanted.table_name, wanted.index_columns);
        END IF;
        -- ALTER TABLE locks the table exclusively even when nothing changes: only when it must.
        IF NOT EXISTS (SELECT FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
                        WHERE i.indexrelid = to_regclass('app.' || wanted.index_name) AND t.oid = to_regclass(wanted.table_name)
                          AND i.indisreplident AND t.relreplident = 'i') THEN
            EXECUTE format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', wanted.table_name, wanted.index_name);
        END IF;
    END LOOP;
    -- The view looks up one mentor's newest certification, and a foreign key alone brings no index. One of the application's serves as well.
    IF NOT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                    WHERE i.indrelid = to_regclass('app.certification') AND i.indisvalid AND i.indpred IS NULL AND a.attname = 'mentor_id') THEN
        CREATE INDEX certification_of_mentor ON app.certification (mentor_id, expires_at DESC, id DESC);
    END IF;
END
$identity$;
-- hlf_sync.sync_request got its identity from the migration; contact_mapping is published by its primary key, so DEFAULT serves.

-- ── Rights ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
-- Whole-table rights given earlier, by hand or by default privileges, would reach the personal columns.
REVOKE ALL ON app.mentor, app.certification, hlf_sync.contact_mapping, hlf_sync.sync_request, hlf_sync.dbz_heartbeat, hlf_sync.dbz_signal,
              hlf_sync.cert_expiry_reminders
  FROM hlf_cdc;
REVOKE ALL ON app.mentor, app.certification FROM hlf_sync;

GRANT USAGE ON SCHEMA app, hlf_sync TO hlf_cdc;
GRANT SELECT (id, organization_code, status) ON app.mentor TO hlf_cdc;
GRANT SELECT (id, mentor_id, status, expires_at) ON app.certification TO hlf_cdc;
GRANT SELECT (mentor_id) ON hlf_sync.contact_mapping TO hlf_cdc;
GRANT SELECT (id, mentor_id, triggered_by, dead_letter_id) ON hlf_sync.sync_request TO hlf_cdc;
GRANT SELECT (mentor_id, threshold_day, certification_expiry_date, organization, certification_id, created_at) ON hlf_sync.cert_expiry_reminders TO hlf_cdc;
GRANT SELECT (id), UPDATE (ts) ON hlf_sync.dbz_heartbeat TO hlf_cdc;
-- Rows in it start and stop snapshots: a control plane. Debezium writes its watermarks, an administrator the signals, nobody else.
GRANT SELECT, INSERT, DELETE ON hlf_sync.dbz_signal TO hlf_cdc;

GRANT SELECT ON hlf_sync.mentor_facts TO hlf_sync;

GRANT USAGE ON SCHEMA hlf_sync TO hlf_requester;
GRANT INSERT (mentor_id, triggered_by, requested_by, reason) ON hlf_sync.sync_request TO hlf_requester;

-- ── The publication: the boundary that no personal column passes ──────────────────────────────────────────────────────────────────────────
-- requested_by and reason of a sync request are written by people and name them: not in the list. The heartbeat table is published and not
-- captured, so that an idle database still moves the slot. TRUNCATE is published: that a table was emptied must be seen.
DO $publication$
DECLARE
    tables text := format($tables$
        app.mentor (id, organization_code, status) WHERE (organization_code = %L),
        app.certification (id, mentor_id, status, expires_at),
        hlf_sync.contact_mapping (mentor_id),
        hlf_sync.sync_request (id, mentor_id, triggered_by, dead_letter_id),
        hlf_sync.cert_expiry_reminders (mentor_id, threshold_day, certification_expiry_date, organization, certification_id, created_at)
            WHERE (organization = %L),
        hlf_sync.dbz_heartbeat,
        hlf_sync.dbz_signal$tables$,
        coalesce(nullif(current_setting('hlf_sync.organization', true), ''), 'HLF'),
        coalesce(nullif(current_setting('hlf_sync.organization', true), ''), 'HLF'));
BEGIN
    IF EXISTS (SELECT FROM pg_publication WHERE pubname = 'hlf_mentor_pub') THEN
        EXECUTE 'ALTER PUBLICATION hlf_mentor_pub SET TABLE ' || tables;
        ALTER PUBLICATION hlf_mentor_pub SET (publish = 'insert, update, delete, truncate');
    ELSE
        EXECUTE 'CREATE PUBLICATION hlf_mentor_pub FOR TABLE ' || tables || ' WITH (publish = ''insert, update, delete, truncate'')';
    END IF;
END
$publication$;

COMMIT;

-- ── The replication slot ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────
-- Made here and not by Debezium, so that nothing committed from now on is missed, however late the connector starts. It holds back the log
-- until it is read: watch pg_replication_slots, and drop it when hlf-sync is removed. After COMMIT, because a transaction that has written
-- cannot make one. failover (17 and later): a standby keeps it, and the stream survives the primary.
DO $slot$
BEGIN
    IF EXISTS (SELECT FROM pg_replication_slots
                WHERE slot_name = 'hlf_mentor_cdc' AND (database IS DISTINCT FROM current_database() OR plugin IS DISTINCT FROM 'pgoutput')) THEN
        RAISE EXCEPTION 'the replication slot hlf_mentor_cdc belongs to another database or plug-in';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'hlf_mentor_cdc') THEN
        IF current_setting('server_version_num')::int >= 170000 THEN
            EXECUTE 'SELECT pg_create_logical_replication_slot(''hlf_mentor_cdc'', ''pgoutput'', false, false, true)';
        ELSE
            PERFORM pg_create_logical_replication_slot('hlf_mentor_cdc', 'pgoutput');
        END IF;
    END IF;
EXCEPTION WHEN duplicate_object THEN
    NULL; -- Another run was faster.
END
$slot$;
