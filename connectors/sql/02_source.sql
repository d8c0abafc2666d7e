-- What the change stream reads and what the worker may read. Second of the two files an administrator runs, after `hlf-sync migrate`.
--
-- Run by a superuser, or by a role that owns the schema app's tables, may act as hlf_sync, may CREATE in the database and has REPLICATION.
-- Safe to run again, and twice at once; a second run takes no heavy lock, so it may be run while everything works.
-- PostgreSQL 15 or later: column lists and row filters of publications came with it.
--
-- The organisation is HLF. For another one: SET hlf_sync.organization = 'XYZ' in the same session before, and HLF_SYNC_ORGANIZATION alike.
--
-- Large tables: the three indexes on app tables block writers while they are built. Build them before by CREATE INDEX CONCURRENTLY with
-- the same columns; this file then finds them.

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
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'this is a standby' USING HINT = 'Run the file on the primary.';
    END IF;
END
$before$;

-- What the application's tables must be, so that view, identities and publication work. Each refusal says what to do; PostgreSQL's own words would
-- come later and say less. The status columns may be of any type that text can be made of, NULL included: the worker refuses what it does not know.
DO $application$
DECLARE
    wanted record;
    seen   record;
BEGIN
    FOR wanted IN SELECT * FROM (VALUES ('app.mentor'), ('app.certification')) AS t (name) LOOP
        SELECT c.* INTO seen FROM pg_class c WHERE c.oid = to_regclass(wanted.name);
        IF NOT FOUND THEN
            RAISE EXCEPTION '% does not exist in this database', wanted.name
                  USING HINT = 'Connect to the application''s database. Tables of other names need another view and other lists: see connectors/README.md.';
        ELSIF seen.relkind = 'p' THEN
            RAISE EXCEPTION '% is partitioned: its partitions would be published without the identity that a change needs', wanted.name
                  USING HINT = 'Keep it as one table, or fill one table from it that is captured instead. See connectors/README.md, "What your tables must be".';
        ELSIF seen.relkind <> 'r' THEN
            RAISE EXCEPTION '% is no ordinary table (relkind %): only such a table can be captured', wanted.name, seen.relkind
                  USING HINT = 'Name the table behind it: view, publication and connector must all read that one.';
        ELSIF seen.relpersistence <> 'p' THEN
            RAISE EXCEPTION '% is unlogged: its changes are not in the log', wanted.name USING HINT = format('ALTER TABLE %s SET LOGGED;', wanted.name);
        ELSIF seen.relrowsecurity THEN
            RAISE EXCEPTION '% has row-level security: snapshot and view could silently leave mentors out', wanted.name
                  USING HINT = format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY; the column grants and the view are what keeps others out.', wanted.name);
        ELSIF EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = seen.oid OR i.inhrelid = seen.oid) THEN
            RAISE EXCEPTION '% inherits or is inherited from: the other tables have no identity of ours', wanted.name
                  USING HINT = format('ALTER TABLE <child> NO INHERIT %s;', wanted.name);
        END IF;
    END LOOP;
    FOR wanted IN SELECT * FROM (VALUES
        ('app.mentor',        'id',                true,  '{uuid}',                      'ALTER TABLE %1$s ALTER COLUMN %2$s TYPE uuid USING %2$s::uuid;'),
        ('app.mentor',        'organization_code', true,  '{text,character varying}',    'ALTER TABLE %1$s ALTER COLUMN %2$s TYPE text; (the publication''s row filter takes no enum and no domain, and character(n) is padded, so that nobody would be ours)'),
        ('app.mentor',        'status',            false, NULL,                          ''),
        ('app.certification', 'id',                true,  '{uuid}',                      'ALTER TABLE %1$s ALTER COLUMN %2$s TYPE uuid USING %2$s::uuid;'),
        ('app.certification', 'mentor_id',         true,  '{uuid}',                      'ALTER TABLE %1$s ALTER COLUMN %2$s TYPE uuid USING %2$s::uuid;'),
        ('app.certification', 'status',            false, NULL,                          ''),
        ('app.certification', 'expires_at',        false, '{timestamp with time zone}',  'ALTER TABLE %1$s ALTER COLUMN %2$s TYPE timestamptz USING %2$s AT TIME ZONE ''UTC''; (with the zone that is meant)')
    ) AS t (table_name, column_name, is_in_identity, types, remedy) LOOP
        SELECT format_type(a.atttypid, NULL) AS type, a.attnotnull, a.attgenerated,
               (SELECT k.conname FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum] AND NOT k.convalidated) AS unproved
          INTO seen
          FROM pg_attribute a WHERE a.attrelid = to_regclass(wanted.table_name) AND a.attname = wanted.column_name AND NOT a.attisdropped;
        IF NOT FOUND THEN
            RAISE EXCEPTION '%.% does not exist', wanted.table_name, wanted.column_name
                  USING HINT = 'Other names need another view and other lists: see connectors/README.md.';
        ELSIF seen.attgenerated <> '' THEN
            RAISE EXCEPTION '%.% is a generated column: a publication leaves it out, or the identity does not go with it', wanted.table_name, wanted.column_name
                  USING HINT = CASE seen.attgenerated WHEN 's' THEN format('ALTER TABLE %s ALTER COLUMN %I DROP EXPRESSION;', wanted.table_name, wanted.column_name)
                                    ELSE 'A virtual one is in no log: put an ordinary column in its place, filled by the application.' END;
        ELSIF NOT seen.type = ANY (coalesce(wanted.types::text[], ARRAY[seen.type])) THEN
            RAISE EXCEPTION '%.% is of type %', wanted.table_name, wanted.column_name, seen.type
                  USING HINT = format(wanted.remedy, wanted.table_name, quote_ident(wanted.column_name));
        ELSIF wanted.is_in_identity AND NOT seen.attnotnull THEN
            RAISE EXCEPTION '%.% may be NULL: a replica identity takes no such column', wanted.table_name, wanted.column_name
                  USING HINT = format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL;', wanted.table_name, wanted.column_name);
        ELSIF seen.unproved IS NOT NULL THEN
            -- PostgreSQL 18: the catalogue calls the column NOT NULL already, Debezium makes a required field of it, and of an old NULL '' or 0.
            RAISE EXCEPTION '%.% has a NOT NULL that is NOT VALID: an old NULL would be streamed as an invented value', wanted.table_name, wanted.column_name
                  USING HINT = format('Fill the old rows, then: ALTER TABLE %s VALIDATE CONSTRAINT %I;', wanted.table_name, seen.unproved);
        END IF;
    END LOOP;
END
$application$;

-- Whether a stream ran before, and what of it is made anew below: then changes in between may be in no record, and a sweep is owed.
CREATE TEMPORARY TABLE IF NOT EXISTS hlf_sync_made_anew (what text) ON COMMIT DROP;

-- ── The facts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
-- One row per mentor with its most recent certification that is not revoked; validity is judged by the reader against this database's now().
-- It reads with its owner's rights, so hlf_sync needs none on the tables behind it. Equal ends: the greater id, so that the answer never flickers.
-- As text, whatever the application's types are: an enum, a domain and a padded character(n) then read as what they say. A certificate without an end
-- comes last, so that it never hides one that has an end; alone it is refused by the worker (outside the contract), never taken for lapsed.
-- A status is cut: none that means something is so long, and a worker reads many mentors at once (one text may hold a gigabyte).
DO $view$
BEGIN
    -- REPLACE cannot give a column another type, and would leave a view of the same columns on tables that were renamed: it is told below.
    IF EXISTS (SELECT FROM pg_attribute a JOIN (VALUES ('mentor_id', 'uuid'), ('organization', 'text'), ('status', 'text'), ('certification_id', 'uuid'),
                      ('certificate_expires_at', 'timestamp with time zone'), ('certificate_status', 'text')) AS w (name, type) ON w.name = a.attname
                WHERE a.attrelid = to_regclass('hlf_sync.mentor_facts') AND a.attnum > 0 AND format_type(a.atttypid, NULL) <> w.type)
       OR (to_regclass('hlf_sync.mentor_facts') IS NOT NULL
           AND (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = to_regclass('hlf_sync.mentor_facts') AND attnum > 0)
               <> '{mentor_id,organization,status,certification_id,certificate_expires_at,certificate_status}') THEN
        DROP VIEW IF EXISTS hlf_sync.coordinator_view; -- made again below
        DROP VIEW hlf_sync.mentor_facts;
    END IF;
    IF to_regclass('hlf_sync.mentor_facts') IS NOT NULL AND EXISTS (
        SELECT FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
         WHERE r.ev_class = to_regclass('hlf_sync.mentor_facts') AND d.refobjid <> r.ev_class
           AND d.refobjid NOT IN (to_regclass('app.mentor'), to_regclass('app.certification'))) THEN
        INSERT INTO hlf_sync_made_anew VALUES ('the view read other tables');
    END IF;
END
$view$;
CREATE OR REPLACE VIEW hlf_sync.mentor_facts AS
SELECT m.id                      AS mentor_id,
       m.organization_code::text AS organization,
       left(m.status::text, 200) AS status,
       c.id                      AS certification_id,
       c.expires_at              AS certificate_expires_at,
       c.status                  AS certificate_status
  FROM app.mentor m
  LEFT JOIN LATERAL (
        SELECT id, expires_at, left(status::text, 200) AS status
          FROM app.certification
         WHERE mentor_id = m.id AND status::text IS DISTINCT FROM 'revoked'
         ORDER BY expires_at DESC NULLS LAST, id DESC
         LIMIT 1) c ON true;
COMMENT ON VIEW hlf_sync.mentor_facts IS 'The contract between the application and hlf-sync: all that is read of a mentor.';

-- ── The coordinators' view ────────────────────────────────────────────────────────────────────────────────────────────────────────────────
-- All that the web service (role hlf_web) may read, by kind: 'mentor' (facts beside ledger, so that a mentor is seen to be wrong before any worker has
-- looked), 'attempt', 'request' (coordinators' and operators'), 'fleet' (one row). It reads with its owner's rights; nothing in it is personal but requested_by
-- and reason of a request. What a row means is decided by the service with the worker's own rules (core/decide): `signature` names all that
-- those rules look at, so that the many rows that mean 'nothing is open' are left out by comparing it; a mentor of whom a former contact
-- is, or may be, shown is never left out so, because `heir` (whose that contact is now) decides too. Which contact it is, the service need not know.
CREATE OR REPLACE VIEW hlf_sync.coordinator_view AS
WITH mentor AS NOT MATERIALIZED (
    SELECT f.mentor_id, true AS is_listed, f.organization, f.status, f.certification_id, f.certificate_expires_at, l.mentor_id IS NOT NULL AS has_ledger,
           l.applied, l.intended, l.state, l.attempt_count, l.last_error_code, l.triggered_by, l.lease_until, l.doubt_until, l.reevaluate_at,
           l.updated_at, l.contact_id, l.hidden_meanwhile,
           hlf_sync.former_contacts(l.contact_id, l.applied, l.intended, l.doubtful_contacts, c.contact_id) AS formers, c.contact_id AS mapped_id
      FROM hlf_sync.mentor_facts f LEFT JOIN hlf_sync.mentor_ledger l ON l.mentor_id = f.mentor_id
           LEFT JOIN hlf_sync.contact_mapping c ON c.mentor_id = f.mentor_id
    UNION ALL
    SELECT l.mentor_id, false, NULL, NULL, NULL, NULL, true,
           l.applied, l.intended, l.state, l.attempt_count, l.last_error_code, l.triggered_by, l.lease_until, l.doubt_until, l.reevaluate_at,
           l.updated_at, l.contact_id, l.hidden_meanwhile,
           hlf_sync.former_contacts(l.contact_id, l.applied, l.intended, l.doubtful_contacts, c.contact_id) AS formers, c.contact_id AS mapped_id
      FROM hlf_sync.mentor_ledger l LEFT JOIN hlf_sync.contact_mapping c ON c.mentor_id = l.mentor_id
     WHERE (l.state <> 'out_of_scope' OR l.intended IS NOT NULL)
       AND NOT EXISTS (SELECT FROM hlf_sync.mentor_facts f WHERE f.mentor_id = l.mentor_id)
)
SELECT 'mentor'::text AS kind, NULL::bigint AS id, m.mentor_id, m.is_listed, m.organization, m.status, m.certificate_expires_at, m.has_ledger,
       CASE WHEN m.contact_id <> m.mapped_id THEN NULL ELSE m.applied END AS applied,
       m.intended, m.state, coalesce(m.attempt_count, 0) AS attempt_count, m.last_error_code, m.triggered_by, m.lease_until, m.doubt_until,
       m.reevaluate_at, m.updated_at, h.held_at,
       concat_ws('|', coalesce(m.organization, ''), coalesce(m.status, ''),
                 CASE WHEN m.certificate_expires_at IS NULL THEN CASE WHEN m.certification_id IS NULL THEN '' ELSE 'endless' END WHEN isfinite(m.certificate_expires_at)
                      THEN (m.certificate_expires_at > now())::text ELSE m.certificate_expires_at::text END,
                 CASE WHEN m.contact_id <> m.mapped_id THEN '' ELSE coalesce(m.applied, '') END, (m.intended IS NULL)::text, coalesce(m.state, ''),
                 (h.mentor_id IS NULL)::text, m.is_listed::text,
                 CASE WHEN m.formers <> '{}' THEN 'former' END) AS signature,
       NULL::text AS request_key, NULL::text AS requested_by, NULL::timestamptz AS at, NULL::jsonb AS content,
       least((SELECT min(a.started_at) FROM hlf_sync.delivery_attempt a WHERE a.mentor_id = m.mentor_id
                 AND a.id > coalesce((SELECT max(d.id) FROM hlf_sync.delivery_attempt d WHERE d.mentor_id = m.mentor_id AND d.outcome = 'applied'), 0)),
             (SELECT min(f.attempted_at) FROM hlf_sync.dynamics_sync_failures f WHERE f.mentor_id = m.mentor_id AND f.resolved_at IS NULL),
             h.held_at, (SELECT w.since FROM hlf_sync.listing_wrong w WHERE w.mentor_id = m.mentor_id
                         -- A wait that a delivery has ended is not this one, though the leader has not struck it out yet.
                         AND NOT EXISTS (SELECT FROM hlf_sync.delivery_attempt d WHERE d.mentor_id = m.mentor_id AND d.outcome = 'applied'
                                            AND d.started_at + make_interval(secs => d.duration_ms / 1000.0) > w.since))) AS open_since,
       (SELECT d.started_at + make_interval(secs => d.duration_ms / 1000.0) FROM hlf_sync.delivery_attempt d
         WHERE d.mentor_id = m.mentor_id AND d.outcome = 'applied' ORDER BY d.id DESC LIMIT 1) AS last_delivered_at,
       m.certification_id,
       EXISTS (SELECT FROM hlf_sync.pause p WHERE p.mentor_id IS NULL OR p.mentor_id = m.mentor_id) AS is_paused,
       coalesce(m.contact_id <> m.mapped_id AND m.applied = 'visible', false) AS has_former, -- this and the next column: a service of before `formers` reads them
       NULL::jsonb AS heir,
       CASE WHEN m.formers <> '{}' THEN (
            SELECT jsonb_agg(jsonb_build_object('is_left_visible', former_id = m.contact_id AND m.applied = 'visible', 'is_hidden', former_id = ANY (m.hidden_meanwhile),
                       'heir', CASE WHEN o.mentor_id IS NOT NULL THEN jsonb_build_object(
                           'is_listed', hf.mentor_id IS NOT NULL, 'organization', hf.organization, 'status', hf.status,
                           'certification_id', hf.certification_id, 'expires_s', extract(epoch FROM hf.certificate_expires_at)::float8::text,
                           'applied', hl.applied, 'intended', hl.intended, 'state', hl.state) END))
              FROM unnest(m.formers) AS former_id
              LEFT JOIN hlf_sync.contact_mapping o ON o.contact_id = former_id
              LEFT JOIN hlf_sync.mentor_facts hf ON hf.mentor_id = o.mentor_id
              LEFT JOIN hlf_sync.mentor_ledger hl ON hl.mentor_id = o.mentor_id AND hl.contact_id = former_id) END AS formers
  FROM mentor m
  LEFT JOIN hlf_sync.held_removal h ON h.mentor_id = m.mentor_id AND h.confirmed_at IS NULL
UNION ALL
SELECT 'attempt', a.id, a.mentor_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, a.attempt_number, a.error_code, a.triggered_by, NULL, NULL, NULL,
       NULL, NULL, NULL, NULL, NULL, a.started_at,
       jsonb_build_object('operation', a.operation, 'reason', a.reason, 'outcome', a.outcome, 'http_status', a.http_status, 'duration_ms', a.duration_ms),
       NULL, NULL, NULL, NULL, NULL, NULL, NULL
  FROM hlf_sync.delivery_attempt a
UNION ALL
SELECT 'request', r.id, r.mentor_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, r.triggered_by, NULL, NULL, NULL,
       NULL, NULL, NULL, r.request_key, left(r.requested_by, 255) AS requested_by, r.created_at, jsonb_build_object('reason', left(r.reason, 500), 'is_by_operator', r.is_by_operator), NULL, NULL,
       NULL, NULL, NULL, NULL, NULL
  FROM hlf_sync.sync_request r WHERE r.triggered_by = 'manual_coordinator_action'
UNION ALL
SELECT 'fleet', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, now(),
       jsonb_build_object(
           'circuits', (SELECT jsonb_object_agg(organization, jsonb_build_object(
                            'state', state, 'opened_s', extract(epoch FROM opened_at), 'error_code', last_error_code,
                            'pause_until_s', extract(epoch FROM retry_after_until))) FROM hlf_sync.circuit),
           -- An operator's pause of all deliveries stands in everybody's way as a halt does.
           'halts', (SELECT jsonb_object_agg(reason, extract(epoch FROM since))
                       FROM (SELECT reason, since FROM hlf_sync.halt UNION ALL SELECT 'paused', since FROM hlf_sync.pause WHERE mentor_id IS NULL) AS standing),
           -- Between two leaders the others have written lately that they are there.
           'has_worker', EXISTS (SELECT FROM hlf_sync.worker WHERE seen_at > now() - interval '15 s')
                      OR EXISTS (SELECT FROM pg_catalog.pg_locks l
                                  WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
                                    AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
                                    AND (l.classid::bigint << 32 | l.objid::bigint) = hashtext('hlf_sync.leader')::bigint),
           -- The leading worker's words for what holds everybody up, and times; no part, host or person is named in them.
           'reports', (SELECT jsonb_object_agg(organization, jsonb_build_object(
                           'reasons', reasons, 'reported_s', extract(epoch FROM reported_at)::float8,
                           'age_s', extract(epoch FROM now() - greatest(reported_at, pg_catalog.pg_postmaster_start_time()))::float8))
                         FROM hlf_sync.fleet_verdict)),
       NULL, NULL, NULL, NULL, NULL, NULL, NULL;
-- Its owner's rights must be those of the schema's owner, whoever runs this file.
ALTER VIEW hlf_sync.coordinator_view OWNER TO hlf_sync;
COMMENT ON VIEW hlf_sync.coordinator_view IS 'What the coordinators'' web service may read: the only thing that hlf_web can SELECT.';

-- ── Replica identities: what a change's "before" holds ───────────────────────────────────────────────────────────────────────────────────
-- FULL would put every column into the log's "before", and together with a column list makes the application's own UPDATE fail ("column list
-- used by the publication does not cover the replica identity"). DEFAULT leaves mentor_id out of a deleted certification. So: narrow unique
-- indexes of NOT NULL columns that the column lists cover. The mentor's must hold organization_code, because the row filter looks at "before" too:
-- that is how a mentor that leaves HLF arrives as a delete. No free text besides: a btree row holds 2,704 bytes, and the application's INSERT of a longer
-- status would fail by our index. Never drop them: relreplident stays 'i', and the application's own UPDATE and DELETE fail (55000).
-- An index is looked for by table and columns, not by name: a table that was renamed away has taken the name along.
DO $identity$
DECLARE
    wanted   record;
    identity regclass;
    old      record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES ('app.mentor',        'mentor_identity',        '{id,organization_code}'::text[]),
                              ('app.certification', 'certification_identity', '{id,mentor_id}'::text[])) AS t (table_name, index_name, columns)
    LOOP
        SELECT i.indexrelid::regclass INTO identity FROM pg_index i
         WHERE i.indrelid = to_regclass(wanted.table_name) AND i.indisunique AND i.indisvalid AND i.indimmediate
           AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indnatts = cardinality(wanted.columns)
           AND (SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey))
               = (SELECT array_agg(name ORDER BY name) FROM unnest(wanted.columns) AS name)
         ORDER BY i.indisreplident DESC LIMIT 1;
        IF identity IS NULL THEN
            -- A table that was renamed away may have kept the index's name.
            IF to_regclass('app.' || wanted.index_name) IS NOT NULL THEN
                wanted.index_name := wanted.index_name || '_' || to_regclass(wanted.table_name)::oid;
            END IF;
            EXECUTE format('CREATE UNIQUE INDEX %I ON %s (%s)', wanted.index_name, wanted.table_name,
                           (SELECT string_agg(quote_ident(name), ', ') FROM unnest(wanted.columns) AS name));
            identity := to_regclass('app.' || quote_ident(wanted.index_name));
        END IF;
        -- ALTER TABLE locks the table exclusively even when nothing changes: only when it must.
        IF NOT EXISTS (SELECT FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
                        WHERE i.indexrelid = identity AND i.indisreplident AND t.relreplident = 'i') THEN
            INSERT INTO hlf_sync_made_anew SELECT wanted.table_name || ' had no identity'
             WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = to_regclass(wanted.table_name) AND i.indisreplident);
            EXECUTE format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', wanted.table_name,
                           (SELECT relname FROM pg_class WHERE oid = identity));
        END IF;
        -- What earlier versions made: it holds the status, whose length it limits.
        FOR old IN SELECT i.indexrelid::regclass AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                    WHERE i.indrelid = to_regclass(wanted.table_name) AND c.relname IN ('mentor_ri', 'certification_ri')
        LOOP
            EXECUTE format('DROP INDEX %s', old.name);
        END LOOP;
    END LOOP;
    -- The view looks up one mentor's newest certification, and a foreign key alone brings no index. One of the application's serves as well.
    IF NOT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                    WHERE i.indrelid = to_regclass('app.certification') AND i.indisvalid AND i.indpred IS NULL AND a.attname = 'mentor_id') THEN
        EXECUTE format('CREATE INDEX %I ON app.certification (mentor_id, expires_at DESC NULLS LAST, id DESC)',
                       'certification_of_mentor' || CASE WHEN to_regclass('app.certification_of_mentor') IS NULL THEN ''
                                                         ELSE '_' || to_regclass('app.certification')::oid END);
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
GRANT SELECT (id, organization_code) ON app.mentor TO hlf_cdc;
GRANT SELECT (id, mentor_id, expires_at) ON app.certification TO hlf_cdc;
GRANT SELECT (mentor_id) ON hlf_sync.contact_mapping TO hlf_cdc;
GRANT SELECT (id, mentor_id, triggered_by, dead_letter_id) ON hlf_sync.sync_request TO hlf_cdc;
GRANT SELECT (mentor_id, threshold_day, certification_expiry_date, organization, certification_id, created_at) ON hlf_sync.cert_expiry_reminders TO hlf_cdc;
GRANT SELECT (id, ts), UPDATE (ts) ON hlf_sync.dbz_heartbeat TO hlf_cdc;
-- Rows in it start and stop snapshots: a control plane. Debezium writes its watermarks, an administrator the signals, nobody else.
GRANT SELECT, INSERT, DELETE ON hlf_sync.dbz_signal TO hlf_cdc;

GRANT SELECT ON hlf_sync.mentor_facts TO hlf_sync;

GRANT USAGE ON SCHEMA hlf_sync TO hlf_requester;
GRANT INSERT (mentor_id, triggered_by, requested_by, reason) ON hlf_sync.sync_request TO hlf_requester;

GRANT USAGE ON SCHEMA hlf_sync TO hlf_web;
GRANT SELECT ON hlf_sync.coordinator_view TO hlf_web;
-- That triggered_by says manual_coordinator_action and nothing else is seen to by the table's trigger only_as_coordinator.
GRANT INSERT (mentor_id, triggered_by, requested_by, reason, request_key) ON hlf_sync.sync_request TO hlf_web;

-- ── The publication: the boundary that no personal column passes ──────────────────────────────────────────────────────────────────────────
-- requested_by and reason of a sync request are written by people and name them: not in the list. The heartbeat table is published and captured: its
-- records are the proof that the log is read, which Debezium's own heartbeat, sent by a clock, is not. TRUNCATE is published: that a table was emptied
-- must be seen. No status is published: a record only says whom to look at, an UPDATE of it alone is a record all the same [measured], and a long one would
-- be a record that Kafka refuses, which stops the stream for everybody (docs/adr/0132). DROP and CREATE stand in one transaction, so whoever reads the log sees the one or the other publication and never none [measured].
DO $publication$
DECLARE
    tables text := format($tables$
        app.mentor (id, organization_code) WHERE (organization_code = %L),
        app.certification (id, mentor_id, expires_at),
        hlf_sync.contact_mapping (mentor_id),
        hlf_sync.sync_request (id, mentor_id, triggered_by, dead_letter_id),
        hlf_sync.cert_expiry_reminders (mentor_id, threshold_day, certification_expiry_date, organization, certification_id, created_at)
            WHERE (organization = %L),
        hlf_sync.dbz_heartbeat,
        hlf_sync.dbz_signal$tables$,
        coalesce(nullif(current_setting('hlf_sync.organization', true), ''), 'HLF'),
        coalesce(nullif(current_setting('hlf_sync.organization', true), ''), 'HLF'));
    known  record;
BEGIN
    SELECT p.puballtables OR EXISTS (SELECT FROM pg_publication_namespace n WHERE n.pnpubid = p.oid) AS is_wide,
           (SELECT count(*) FROM pg_publication_rel r WHERE r.prpubid = p.oid
               AND r.prrelid IN (to_regclass('app.mentor'), to_regclass('app.certification'), to_regclass('hlf_sync.contact_mapping'),
                                 to_regclass('hlf_sync.sync_request'))) < 4 AS is_incomplete,
           NOT (p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate) AS is_partial
      INTO known FROM pg_publication p WHERE p.pubname = 'hlf_mentor_pub';
    IF NOT FOUND THEN
        INSERT INTO hlf_sync_made_anew VALUES ('the publication was missing');
    ELSIF known.is_incomplete AND NOT known.is_wide THEN
        INSERT INTO hlf_sync_made_anew VALUES ('the publication lacked a table');
    ELSIF known.is_partial THEN
        INSERT INTO hlf_sync_made_anew VALUES ('the publication left operations out');
    END IF;
    IF known.is_wide THEN
        DROP PUBLICATION hlf_mentor_pub;
    END IF;
    IF EXISTS (SELECT FROM pg_publication WHERE pubname = 'hlf_mentor_pub') THEN
        EXECUTE 'ALTER PUBLICATION hlf_mentor_pub SET TABLE ' || tables;
        ALTER PUBLICATION hlf_mentor_pub SET (publish = 'insert, update, delete, truncate', publish_via_partition_root = false);
    ELSE
        EXECUTE 'CREATE PUBLICATION hlf_mentor_pub FOR TABLE ' || tables || ' WITH (publish = ''insert, update, delete, truncate'')';
    END IF;
END
$publication$;

-- ── May hlf_cdc copy the whole cluster? ───────────────────────────────────────────────────────────────────────────────────────────────────
-- REPLICATION is for the log, and lets pg_basebackup in as well. Only pg_hba.conf tells the two apart: a line 'host replication hlf_cdc all reject'
-- before all others. hlf_sync may not read that file's rules, so this function answers `doctor`'s one question: null where it may not be asked either.
CREATE OR REPLACE FUNCTION hlf_sync.may_cdc_copy_cluster() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $hba$
DECLARE
    rule record;
BEGIN
    FOR rule IN EXECUTE $rules$ SELECT type, user_name, address, auth_method FROM pg_hba_file_rules
         WHERE error IS NULL AND 'replication' = ANY (database) AND type <> 'local' ORDER BY line_number $rules$
    LOOP
        IF NOT rule.user_name && ARRAY['all', 'hlf_cdc'] AND NOT EXISTS (SELECT FROM unnest(rule.user_name) AS name WHERE name ~ '^[+/]') THEN
            CONTINUE;
        ELSIF rule.auth_method <> 'reject' THEN
            RETURN true;
        ELSIF rule.type = 'host' AND rule.address = 'all' AND rule.user_name && ARRAY['all', 'hlf_cdc'] THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN false;
EXCEPTION WHEN insufficient_privilege OR undefined_table THEN
    RETURN NULL;
END
$hba$;
REVOKE ALL ON FUNCTION hlf_sync.may_cdc_copy_cluster() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hlf_sync.may_cdc_copy_cluster() TO hlf_sync;

-- ── Who has changed ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
-- The leader compares facts and ledger every ten seconds, and may not read the tables. These two say of mentors no more than whose rows are newer than a
-- snapshot, and when their newest rows were committed (null where the server does not keep that: track_commit_timestamp). age() sorts out nearly all rows.
CREATE OR REPLACE FUNCTION hlf_sync.mentors_changed(before pg_snapshot) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $changed$
DECLARE
    reach integer := age((pg_snapshot_xmin(before)::text::bigint % 4294967296)::text::xid);
BEGIN
    RETURN QUERY
    SELECT m.id FROM app.mentor m WHERE age(m.xmin) BETWEEN 0 AND reach
     UNION ALL SELECT c.mentor_id FROM app.certification c WHERE age(c.xmin) BETWEEN 0 AND reach;
END
$changed$;
CREATE OR REPLACE FUNCTION hlf_sync.mentors_committed(mentors uuid[]) RETURNS TABLE (mentor_id uuid, committed_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $committed$
BEGIN
    IF current_setting('track_commit_timestamp') = 'on' THEN
        RETURN QUERY
        SELECT r.mentor_id, max(pg_xact_commit_timestamp(r.changed))
          FROM (SELECT m.id AS mentor_id, m.xmin AS changed FROM app.mentor m WHERE m.id = ANY (mentors)
                 UNION ALL SELECT c.mentor_id, c.xmin FROM app.certification c WHERE c.mentor_id = ANY (mentors)
                 UNION ALL SELECT k.mentor_id, k.xmin FROM hlf_sync.contact_mapping k WHERE k.mentor_id = ANY (mentors)) AS r
         GROUP BY r.mentor_id;
    END IF;
END
$committed$;
REVOKE ALL ON FUNCTION hlf_sync.mentors_changed(pg_snapshot), hlf_sync.mentors_committed(uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hlf_sync.mentors_changed(pg_snapshot), hlf_sync.mentors_committed(uuid[]) TO hlf_sync;

-- The leader of the workers reads this note and sweeps by itself; without workers it waits for them.
DO $owed$
DECLARE
    what text;
BEGIN
    SELECT string_agg(DISTINCT m.what, ', ') INTO what FROM hlf_sync_made_anew m;
    IF what IS NOT NULL AND EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'hlf_mentor_cdc' AND database = current_database()) THEN
        UPDATE hlf_sync.source_watch SET sweep_owed = what;
        RAISE WARNING 'a sweep is owed (%): changes in between may be in no record', what
              USING HINT = 'The leader of the workers sweeps within seconds; without workers: `hlf-sync sweep` once they run.';
    END IF;
END
$owed$;

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
        UPDATE hlf_sync.source_watch SET sweep_owed = 'the slot was missing' WHERE fingerprint IS NOT NULL;
        IF FOUND THEN
            RAISE WARNING 'the slot was missing: what was committed meanwhile is in no record'
                  USING HINT = '`hlf-sync connector recover` lets the connector begin anew, and sweeps.';
        END IF;
    END IF;
EXCEPTION WHEN duplicate_object THEN
    NULL; -- Another run was faster.
END
$slot$;
