-- Our tables. Run by `hlf-sync migrate` as the role hlf_sync, which owns the schema hlf_sync and nothing of the application's.

CREATE TABLE hlf_sync.contact_mapping (
    mentor_id  uuid PRIMARY KEY,
    contact_id uuid NOT NULL UNIQUE
);

-- One row per mentor we ever delivered: what Dynamics shows as far as we know, and what is still open.
CREATE TABLE hlf_sync.mentor_ledger (
    mentor_id       uuid PRIMARY KEY,
    applied         text CHECK (applied IN ('visible', 'hidden')),
    -- The write-ahead intent. Not null: a call may have taken effect without our knowing; the mentor is in doubt.
    intended        text CHECK (intended IN ('visible', 'hidden')),
    state           text NOT NULL CHECK (state IN ('in_sync', 'pending', 'in_doubt', 'dead_lettered', 'out_of_scope')),
    -- Until then a call whose answer never came may still take effect.
    doubt_until     timestamptz,
    generation      bigint NOT NULL DEFAULT 0,
    lease_owner     text,
    lease_until     timestamptz,
    attempt_count   integer NOT NULL DEFAULT 0,
    last_error_code text,
    dead_letter_id  text,
    reevaluate_at   timestamptz,
    triggered_by    text,
    -- When a removal of a listed mentor was last claimed: what the mass change guard counts.
    removal_at      timestamptz,
    -- An operator has said yes to it, so it uses up none of the guard's allowance.
    removal_confirmed boolean NOT NULL DEFAULT false,
    updated_at      timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);

CREATE INDEX mentor_ledger_reevaluate ON hlf_sync.mentor_ledger (reevaluate_at) WHERE reevaluate_at IS NOT NULL;
CREATE INDEX mentor_ledger_removal ON hlf_sync.mentor_ledger (removal_at) WHERE removal_at IS NOT NULL;
CREATE INDEX mentor_ledger_open ON hlf_sync.mentor_ledger (state) WHERE state IN ('pending', 'in_doubt', 'dead_lettered');

-- Append-only: what `why` shows.
CREATE TABLE hlf_sync.delivery_attempt (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mentor_id      uuid NOT NULL,
    generation     bigint NOT NULL,
    attempt_number integer NOT NULL,
    operation      text NOT NULL,
    triggered_by   text NOT NULL,
    started_at     timestamptz NOT NULL,
    duration_ms    integer NOT NULL,
    outcome        text NOT NULL,
    error_code     text,
    http_status    integer,
    correlation_id uuid  -- null when the call was cut short
);
CREATE INDEX delivery_attempt_mentor ON hlf_sync.delivery_attempt (mentor_id, id);

CREATE TABLE hlf_sync.dynamics_sync_failures (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mentor_id        uuid NOT NULL,
    certification_id uuid,
    attempted_at     timestamptz NOT NULL DEFAULT now(),
    error_code       text NOT NULL,
    retry_count      integer NOT NULL,
    resolved_at      timestamptz,
    dead_letter_id   text NOT NULL UNIQUE
);
CREATE INDEX dynamics_sync_failures_open ON hlf_sync.dynamics_sync_failures (mentor_id) WHERE resolved_at IS NULL;

-- The breaker of the whole fleet. `version` is the compare in compare-and-set.
CREATE TABLE hlf_sync.circuit (
    organization      text PRIMARY KEY,
    state             text NOT NULL DEFAULT 'closed' CHECK (state IN ('closed', 'open', 'half_open')),
    failure_count     integer NOT NULL DEFAULT 0,
    opened_at         timestamptz,
    last_error_code   text,
    probe_owner       text,
    probe_until       timestamptz,
    retry_after_until timestamptz,
    closed_at         timestamptz,
    version           bigint NOT NULL DEFAULT 0
);

CREATE TABLE hlf_sync.halt (
    reason text PRIMARY KEY CHECK (reason IN ('auth', 'dead_letter_limit', 'mass_removal')),
    since  timestamptz NOT NULL DEFAULT now(),
    detail text NOT NULL DEFAULT ''
);

-- Removals that the mass change guard holds back, and the operator's word that lets exactly these through.
CREATE TABLE hlf_sync.held_removal (
    mentor_id    uuid PRIMARY KEY,
    held_at      timestamptz NOT NULL DEFAULT now(),
    confirmed_at timestamptz,
    confirmed_by text,
    reason       text
);

-- The one door for whatever is no row change: force, expiry, reconciliation, replay.
CREATE TABLE hlf_sync.sync_request (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mentor_id      uuid NOT NULL,
    triggered_by   text NOT NULL CHECK (triggered_by IN ('status_change', 'certification_change', 'manual_coordinator_action',
                                                         'expiry', 'reconciliation', 'dead_letter_replay')),
    requested_by   text,
    reason         text,
    dead_letter_id text,
    created_at     timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX sync_request_ri ON hlf_sync.sync_request (id, mentor_id);
ALTER TABLE hlf_sync.sync_request REPLICA IDENTITY USING INDEX sync_request_ri;
CREATE INDEX sync_request_created ON hlf_sync.sync_request (created_at);
CREATE INDEX sync_request_mentor ON hlf_sync.sync_request (mentor_id, id);

CREATE TABLE hlf_sync.dbz_heartbeat (id integer PRIMARY KEY, ts timestamptz NOT NULL);
INSERT INTO hlf_sync.dbz_heartbeat VALUES (1, now());
CREATE TABLE hlf_sync.dbz_signal (id varchar(42) PRIMARY KEY, type varchar(32) NOT NULL, data varchar(2048));

-- Workers hear of every change of the shared state at once, whoever makes it.
CREATE FUNCTION hlf_sync.tell_fleet() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('hlf_sync_fleet', '');
    RETURN NULL;
END $$;
CREATE TRIGGER tell_fleet AFTER INSERT OR UPDATE OR DELETE ON hlf_sync.circuit FOR EACH STATEMENT EXECUTE FUNCTION hlf_sync.tell_fleet();
CREATE TRIGGER tell_fleet AFTER INSERT OR UPDATE OR DELETE ON hlf_sync.halt FOR EACH STATEMENT EXECUTE FUNCTION hlf_sync.tell_fleet();
