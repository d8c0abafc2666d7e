-- What is done by the clock: the nightly work and the reminders.

-- The one clock of whatever happens by time: certificates that end, nights, reminders. A test that drives the clock replaces this function by one that
-- adds its shift; production has no such switch. PostgreSQL inlines it, so it costs nothing.
CREATE FUNCTION hlf_sync.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS 'SELECT pg_catalog.now()';

-- One run per local date. `counts`: for each step its outcome, its attempts and what it counted. Not finished: steps are left, whoever leads goes on.
CREATE TABLE hlf_sync.nightly_run (
    run_date    date PRIMARY KEY,
    started_at  timestamptz NOT NULL DEFAULT hlf_sync.now(),
    finished_at timestamptz,
    counts      jsonb NOT NULL DEFAULT '{}'
);

-- How many days before a certificate's end its mentor is reminded, by organisation. Another organisation is rows here, and no code.
CREATE TABLE hlf_sync.reminder_threshold (
    organization  text NOT NULL,
    threshold_day integer NOT NULL CHECK (threshold_day BETWEEN 0 AND 3650),
    PRIMARY KEY (organization, threshold_day)
);
INSERT INTO hlf_sync.reminder_threshold VALUES ('HLF', 30), ('HLF', 14), ('HLF', 7);

-- An outbox: the connector publishes what is inserted here. The primary key is what makes a reminder happen once.
CREATE TABLE hlf_sync.cert_expiry_reminders (
    mentor_id                 uuid NOT NULL,
    threshold_day             integer NOT NULL,
    certification_expiry_date date NOT NULL,
    organization              text NOT NULL,
    certification_id          uuid,
    created_at                timestamptz NOT NULL DEFAULT hlf_sync.now(),
    PRIMARY KEY (mentor_id, threshold_day, certification_expiry_date)
);
-- The publication's row filter looks at the organisation, also when old rows are deleted: so the identity must hold it.
CREATE UNIQUE INDEX cert_expiry_reminders_ri ON hlf_sync.cert_expiry_reminders (mentor_id, threshold_day, certification_expiry_date, organization);
ALTER TABLE hlf_sync.cert_expiry_reminders REPLICA IDENTITY USING INDEX cert_expiry_reminders_ri;
CREATE INDEX cert_expiry_reminders_expiry ON hlf_sync.cert_expiry_reminders (certification_expiry_date);
