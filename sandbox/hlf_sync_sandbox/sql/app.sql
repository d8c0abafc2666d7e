-- The application's tables as the sandbox makes them (contract.md, Source database). In production they exist already; nothing of ours changes their rows.
CREATE SCHEMA IF NOT EXISTS app;
CREATE TABLE IF NOT EXISTS app.mentor (
    id                uuid PRIMARY KEY,
    organization_code text NOT NULL,
    status            text NOT NULL,
    full_name         text,
    email             text,
    phone             text,
    updated_at        timestamptz DEFAULT now()
);
CREATE TABLE IF NOT EXISTS app.certification (
    id         uuid PRIMARY KEY,
    mentor_id  uuid NOT NULL REFERENCES app.mentor ON DELETE CASCADE,
    status     text NOT NULL,
    expires_at timestamptz NOT NULL,
    notes      text
);
CREATE INDEX IF NOT EXISTS certification_mentor ON app.certification (mentor_id, expires_at DESC);
