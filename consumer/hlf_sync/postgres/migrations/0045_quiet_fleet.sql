-- PostgreSQL's queue of notifications is one for the whole cluster. A session of anybody's that LISTENs and stays in a transaction fills it, and then each
-- COMMIT that notifies fails: no circuit would open, no halt begin, no pause be set (findings/one_idle_listener_stops_commits.sh). So the same care as
-- tell_web takes (0030): none while the queue is half full. Nothing is lost by it: workers look four times a second anyway.
CREATE OR REPLACE FUNCTION hlf_sync.tell_fleet() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_catalog.pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_catalog.pg_notify('hlf_sync_fleet', '');
    END IF;
    RETURN NULL;
END $$;

