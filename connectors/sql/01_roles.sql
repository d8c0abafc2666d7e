-- The roles of hlf-sync and the schema it owns. First of the two files an administrator runs in the application's database:
--
--     01_roles.sql  →  hlf-sync migrate  →  02_source.sql
--
-- Safe to run again, and twice at once. Sets no password: give the roles theirs by `\password hlf_cdc`, or by a certificate in pg_hba.conf,
-- so that no secret ever stands in a file under version control.

BEGIN;

-- One at a time: GRANT and ALTER ROLE of two sessions on one object fail with 'tuple concurrently updated'.
SELECT pg_advisory_xact_lock(hashtext('hlf-sync source set-up'));

-- Roles belong to the whole cluster and the lock above to one database, so another database's run may still be the first: hence the exceptions.
DO $roles$
BEGIN
    BEGIN
        -- Debezium's role. REPLICATION reads the write-ahead log; everything else it may do is granted column by column in 02_source.sql.
        CREATE ROLE hlf_cdc LOGIN REPLICATION NOINHERIT;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
    BEGIN
        -- The worker's role. Owns the schema hlf_sync, and reads one view of the application's.
        CREATE ROLE hlf_sync LOGIN NOINHERIT;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
    BEGIN
        -- For the application: `GRANT hlf_requester TO <its user>` lets it ask for one mentor's synchronisation, and for nothing more.
        CREATE ROLE hlf_requester NOLOGIN;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
    BEGIN
        -- The coordinators' web service: reads one view of ours, and asks for one mentor's synchronisation. Owns nothing.
        CREATE ROLE hlf_web LOGIN NOINHERIT;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
END
$roles$;

-- A role that was there before us may be able to do more than it should. Found now rather than in an audit.
DO $privilege$
DECLARE
    strong text;
BEGIN
    SELECT string_agg(rolname, ', ' ORDER BY rolname) INTO strong
      FROM pg_roles
     WHERE (rolname IN ('hlf_cdc', 'hlf_sync', 'hlf_requester', 'hlf_web') AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb))
        OR (rolname IN ('hlf_sync', 'hlf_requester', 'hlf_web') AND rolreplication);
    IF strong IS NOT NULL THEN
        RAISE EXCEPTION 'these roles may do more than hlf-sync needs: %', strong
              USING HINT = 'ALTER ROLE … NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB (and NOREPLICATION, but for hlf_cdc), then run this file again.';
    END IF;
    IF NOT (SELECT rolreplication FROM pg_roles WHERE rolname = 'hlf_cdc') THEN
        RAISE WARNING 'hlf_cdc lacks REPLICATION: ALTER ROLE hlf_cdc REPLICATION, or your provider''s role for it, must follow';
    END IF;
END
$privilege$;

-- The heartbeat may be lost in a failover, and must not hold back the log while a synchronous standby is away. What hlf_sync commits (claims, intents,
-- outcomes) is as durable as the operator wants it: a failover that lost it would leave a ledger that is wrong and does not know it (docs/adr/0030).
ALTER ROLE hlf_cdc SET synchronous_commit = local;
ALTER ROLE hlf_sync RESET synchronous_commit;
-- Should the application ever put row security on a table: an error, instead of mentors silently missing in snapshot or view.
ALTER ROLE hlf_cdc SET row_security = off;
ALTER ROLE hlf_sync SET row_security = off;
-- A page that waits is better told so than served after minutes.
ALTER ROLE hlf_web SET statement_timeout = '10s';

CREATE SCHEMA IF NOT EXISTS hlf_sync AUTHORIZATION hlf_sync;
ALTER SCHEMA hlf_sync OWNER TO hlf_sync;
REVOKE ALL ON SCHEMA hlf_sync FROM PUBLIC;

COMMIT;
