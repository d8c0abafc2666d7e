"""The database's own record of what happened: audit triggers on the application's tables and the
circuit, and settings that hide commits for a while.

Laid before the writers begin, taken away at the end. Rolled-back rows leave no trace here, by
construction. Read by run.py as the auditor's evidence.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.chaos.circuit import Move
from tests.chaos.history import Event

_LAY = """
DROP SCHEMA IF EXISTS chaos CASCADE;
CREATE SCHEMA chaos;
CREATE TABLE chaos.history (
    seq bigserial PRIMARY KEY, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), name text NOT NULL,
    key text NOT NULL, mentor_id uuid NOT NULL, row jsonb, was_ours boolean NOT NULL
);
CREATE FUNCTION chaos.note_mentor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos.history (name, key, mentor_id, row, was_ours) VALUES (
        'mentor', coalesce(NEW.id, OLD.id), coalesce(NEW.id, OLD.id),
        CASE WHEN TG_OP <> 'DELETE' THEN jsonb_build_object('organization', NEW.organization_code, 'status', NEW.status) END,
        coalesce(NEW.organization_code = 'HLF', false) OR coalesce(OLD.organization_code = 'HLF', false));
    RETURN NULL;
END $$;
CREATE FUNCTION chaos.note_certification() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos.history (name, key, mentor_id, row, was_ours) VALUES (
        'certification', coalesce(NEW.id, OLD.id), coalesce(NEW.mentor_id, OLD.mentor_id),
        CASE WHEN TG_OP <> 'DELETE' THEN jsonb_build_object('status', NEW.status, 'expires_s', extract(epoch FROM NEW.expires_at)) END, true);
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_history AFTER INSERT OR UPDATE OR DELETE ON app.mentor FOR EACH ROW EXECUTE FUNCTION chaos.note_mentor();
CREATE TRIGGER chaos_history AFTER INSERT OR UPDATE OR DELETE ON app.certification FOR EACH ROW EXECUTE FUNCTION chaos.note_certification();
CREATE TABLE chaos.circuit (seq bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), state text NOT NULL);
CREATE FUNCTION chaos.note_circuit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO chaos.circuit (state) VALUES (NEW.state);
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_history AFTER INSERT OR UPDATE ON hlf_sync.circuit FOR EACH ROW EXECUTE FUNCTION chaos.note_circuit();
"""

_READ = """
SELECT seq, xid::text::bigint, extract(epoch FROM pg_xact_commit_timestamp(xid::xid))::float8, name, key, mentor_id::text, row, was_ours
  FROM chaos.history ORDER BY seq
"""

# Every commit is quick, except those that ask for a standby: that one does not exist, so they are
# streamed and stay invisible until cancelled.
_SETTINGS = {"synchronous_commit": "local", "synchronous_standby_names": "absent"}


@contextmanager
def laid(dsn: str) -> Iterator[None]:
    """With the audit trigger and the settings; both are gone afterwards."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(_LAY)
        _order(connection, {name: f"= '{value}'" for name, value in _SETTINGS.items()}, "SET")
    try:
        yield
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            _order(connection, dict.fromkeys(_SETTINGS, ""), "RESET")
            connection.execute("DROP SCHEMA IF EXISTS chaos CASCADE")


def _order(connection: psycopg.Connection, values: dict[str, str], word: str) -> None:
    for name, value in values.items():
        connection.execute(f"ALTER SYSTEM {word} {name} {value}".encode())
    connection.execute("SELECT pg_reload_conf()")


def read_history(connection: psycopg.Connection) -> list[Event]:
    """Everything that was committed since the trigger was laid."""
    rows = connection.execute(_READ).fetchall()
    return [
        Event(seq, xid, at_s, name, key, mentor_id, row, was_ours)
        for seq, xid, at_s, name, key, mentor_id, row, was_ours in rows
    ]


def read_circuit(connection: psycopg.Connection) -> list[Move]:
    """Every transition of the circuit, in order."""
    rows = connection.execute(
        "SELECT extract(epoch FROM at)::float8, state FROM chaos.circuit ORDER BY seq"
    ).fetchall()
    return [Move(at_s, state) for at_s, state in rows]
