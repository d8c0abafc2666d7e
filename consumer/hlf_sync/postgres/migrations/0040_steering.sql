-- What an operator does to the fleet, and what the fleet did about itself: pauses, their history, and calls made by break-glass.

-- While a row is here, no call is made: for one mentor, or for everybody (mentor_id null). What becomes due is kept as pending in the ledger.
CREATE TABLE hlf_sync.pause (
    mentor_id uuid UNIQUE NULLS NOT DISTINCT,
    since     timestamptz NOT NULL DEFAULT now(),
    paused_by text NOT NULL,
    reason    text NOT NULL
);

-- From when to when something stood still, by whom, why. Kept for a year (consumer/hlf_sync/worker/leader.py). `subject`: the halt's reason, the
-- circuit's organisation, the paused mentor's id or 'all', the roster's SHA-256.
CREATE TABLE hlf_sync.history (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind     text NOT NULL CHECK (kind IN ('halt', 'circuit', 'pause', 'break_glass')),
    subject  text NOT NULL,
    began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    began_by text NOT NULL,
    ended_by text,
    why      text NOT NULL DEFAULT '',
    ended_why text
);
CREATE UNIQUE INDEX history_open ON hlf_sync.history (kind, subject) WHERE ended_at IS NULL;
CREATE INDEX history_began ON hlf_sync.history (began_at);

-- Who acts: an operator's command says so (SET LOCAL hlf_sync.actor), else the program that connected.
CREATE FUNCTION hlf_sync.actor() RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT coalesce(nullif(current_setting('hlf_sync.actor', true), ''), nullif(current_setting('application_name', true), ''), session_user::text)
$$;

CREATE FUNCTION hlf_sync.note_history(kind text, subject text, is_on boolean, who text, why text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF is_on THEN
        INSERT INTO hlf_sync.history AS h (kind, subject, began_by, why) VALUES (note_history.kind, note_history.subject, who, coalesce(note_history.why, ''))
        ON CONFLICT DO NOTHING;
    ELSE
        UPDATE hlf_sync.history h SET ended_at = clock_timestamp(), ended_by = who, ended_why = note_history.why
         WHERE h.kind = note_history.kind AND h.subject = note_history.subject AND h.ended_at IS NULL;
    END IF;
END $$;
REVOKE ALL ON FUNCTION hlf_sync.note_history(text, text, boolean, text, text) FROM PUBLIC;

CREATE FUNCTION hlf_sync.halt_history() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM hlf_sync.note_history('halt', NEW.reason, true, hlf_sync.actor(), NEW.detail);
    ELSE
        PERFORM hlf_sync.note_history('halt', OLD.reason, false, hlf_sync.actor(), nullif(current_setting('hlf_sync.why', true), ''));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER history AFTER INSERT OR DELETE ON hlf_sync.halt FOR EACH ROW EXECUTE FUNCTION hlf_sync.halt_history();

-- One episode from the first opening to the next closing: a probe that fails in between begins no new one.
CREATE FUNCTION hlf_sync.circuit_history() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM hlf_sync.note_history('circuit', NEW.organization, NEW.state <> 'closed', hlf_sync.actor(),
                                  CASE WHEN NEW.state <> 'closed' THEN NEW.last_error_code END);
    RETURN NULL;
END $$;
CREATE TRIGGER history AFTER INSERT ON hlf_sync.circuit FOR EACH ROW WHEN (NEW.state <> 'closed') EXECUTE FUNCTION hlf_sync.circuit_history();
CREATE TRIGGER history_of_change AFTER UPDATE ON hlf_sync.circuit FOR EACH ROW WHEN ((OLD.state = 'closed') <> (NEW.state = 'closed'))
    EXECUTE FUNCTION hlf_sync.circuit_history();

CREATE FUNCTION hlf_sync.pause_history() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM hlf_sync.note_history('pause', coalesce(NEW.mentor_id::text, 'all'), true, NEW.paused_by, NEW.reason);
    ELSE
        PERFORM hlf_sync.note_history('pause', coalesce(OLD.mentor_id::text, 'all'), false, hlf_sync.actor(),
                                      nullif(current_setting('hlf_sync.why', true), ''));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER history AFTER INSERT OR DELETE ON hlf_sync.pause FOR EACH ROW EXECUTE FUNCTION hlf_sync.pause_history();
CREATE TRIGGER tell_fleet AFTER INSERT OR UPDATE OR DELETE ON hlf_sync.pause FOR EACH STATEMENT EXECUTE FUNCTION hlf_sync.tell_fleet();

-- What stands at this moment has its beginning in the history too.
INSERT INTO hlf_sync.history (kind, subject, began_at, began_by, why) SELECT 'halt', reason, since, 'before 0040', detail FROM hlf_sync.halt;
INSERT INTO hlf_sync.history (kind, subject, began_at, began_by, why)
SELECT 'circuit', organization, coalesce(opened_at, now()), 'before 0040', coalesce(last_error_code, '') FROM hlf_sync.circuit WHERE state <> 'closed';

-- Calls that break-glass made beside the ledger, told by `break-glass settle`: who called what for whom, when, why. Repeating a settlement adds nothing.
CREATE TABLE hlf_sync.break_glass_call (
    contact_id     uuid NOT NULL,
    began_at       timestamptz NOT NULL,
    mentor_id      uuid NOT NULL,
    shown          text NOT NULL CHECK (shown IN ('visible', 'hidden')),
    effect         text NOT NULL CHECK (effect IN ('applied', 'none', 'unknown', 'may_come_late')),
    error_code     text,
    http_status    integer,
    correlation_id uuid,
    called_by      text NOT NULL,
    reason         text NOT NULL,
    roster_sha256  text NOT NULL,
    PRIMARY KEY (contact_id, began_at)
);
CREATE INDEX break_glass_call_mentor ON hlf_sync.break_glass_call (mentor_id, began_at);

-- Only the triggers call them.
REVOKE ALL ON FUNCTION hlf_sync.halt_history(), hlf_sync.circuit_history(), hlf_sync.pause_history() FROM PUBLIC;
