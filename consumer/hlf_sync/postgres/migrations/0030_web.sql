-- What the coordinators' web service needs (docs/adr/0040-coordinators-web-service.md). Its view and its grants: connectors/sql/02_source.sql.

-- The same Idempotency-Key of the same coordinator: one request. Also how the service, which may not read this table, finds the row that it has written.
ALTER TABLE hlf_sync.sync_request ADD COLUMN request_key text;
CREATE UNIQUE INDEX sync_request_key ON hlf_sync.sync_request (request_key) WHERE request_key IS NOT NULL;
CREATE INDEX sync_request_manual ON hlf_sync.sync_request (id) WHERE triggered_by = 'manual_coordinator_action';

-- Who may only ask as a coordinator asks as nothing else. Not row level security: Debezium's role reads this table in its snapshot, and runs with
-- row_security = off on purpose (01_roles.sql), so that rows hidden by a policy are an error and never a loss.
CREATE FUNCTION hlf_sync.only_as_coordinator() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'hlf_web' AND pg_catalog.pg_has_role(current_user, oid, 'MEMBER'))
       AND NOT pg_catalog.pg_has_role(current_user, 'hlf_sync', 'MEMBER') THEN
        RAISE insufficient_privilege USING MESSAGE = 'hlf_web may ask as manual_coordinator_action only';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_as_coordinator BEFORE INSERT ON hlf_sync.sync_request FOR EACH ROW
    WHEN (NEW.triggered_by IS DISTINCT FROM 'manual_coordinator_action' AND current_user <> 'hlf_sync')
    EXECUTE FUNCTION hlf_sync.only_as_coordinator();

-- Open pages hear of the ledger at its commit. It must neither fail the worker's statement nor slow it: one notification per statement; none while
-- the queue is half full, because a full one fails the commit (a listener that sleeps in a transaction fills it); whatever goes wrong is passed over,
-- since the service looks anyway every second. More mentors than fit: an empty payload, look at all.
CREATE FUNCTION hlf_sync.tell_web() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    mentors text;
BEGIN
    SELECT string_agg(mentor_id::text, ',') INTO mentors FROM (SELECT mentor_id FROM changed LIMIT 201) AS few;
    IF mentors IS NOT NULL AND pg_catalog.pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_catalog.pg_notify('hlf_sync_web', CASE WHEN length(mentors) > 7400 THEN '' ELSE mentors END);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;
CREATE TRIGGER tell_web_inserted AFTER INSERT ON hlf_sync.mentor_ledger REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION hlf_sync.tell_web();
CREATE TRIGGER tell_web_updated AFTER UPDATE ON hlf_sync.mentor_ledger REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION hlf_sync.tell_web();
CREATE TRIGGER tell_web_deleted AFTER DELETE ON hlf_sync.mentor_ledger REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION hlf_sync.tell_web();
CREATE TRIGGER tell_web_inserted AFTER INSERT ON hlf_sync.held_removal REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION hlf_sync.tell_web();
CREATE TRIGGER tell_web_updated AFTER UPDATE ON hlf_sync.held_removal REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION hlf_sync.tell_web();
CREATE TRIGGER tell_web_deleted AFTER DELETE ON hlf_sync.held_removal REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION hlf_sync.tell_web();
