"""The stream's beginning in PostgreSQL: publication, replication slot, replica identities,
heartbeat. Called with the sync role's connection.
"""

from collections.abc import Mapping
from typing import Any

from hlf_sync.doctor.database import Connection, one, rows
from hlf_sync.doctor.finding import Finding, fail, ok, some, warn

PUBLICATION, SLOT, IDENTITIES, HEARTBEAT = (
    "source.publication",
    "source.slot",
    "source.identities",
    "source.heartbeat",
)

_SOURCE_SQL = "an administrator runs connectors/sql/02_source.sql again"
_LOST = "changes are lost to the stream: 'The slot is lost' in connectors/README.md"

# What may leave the database; column order does not count (connectors/sql/02_source.sql).
PUBLISHED: Mapping[str, frozenset[str]] = {
    "app.mentor": frozenset({"id", "organization_code", "status"}),
    "app.certification": frozenset({"id", "mentor_id", "status", "expires_at"}),
    "hlf_sync.contact_mapping": frozenset({"mentor_id"}),
    "hlf_sync.sync_request": frozenset({"id", "mentor_id", "triggered_by", "dead_letter_id"}),
    "hlf_sync.cert_expiry_reminders": frozenset(
        {
            "mentor_id",
            "threshold_day",
            "certification_expiry_date",
            "organization",
            "certification_id",
            "created_at",
        }
    ),
    "hlf_sync.dbz_heartbeat": frozenset({"id", "ts"}),
    "hlf_sync.dbz_signal": frozenset({"id", "type", "data"}),
}
IDENTIFIED_BY: Mapping[str, frozenset[str]] = {
    "app.mentor": frozenset({"id", "organization_code", "status"}),
    "app.certification": frozenset({"id", "mentor_id", "status"}),
    "hlf_sync.contact_mapping": frozenset({"mentor_id"}),
    "hlf_sync.sync_request": frozenset({"id", "mentor_id"}),
    "hlf_sync.cert_expiry_reminders": frozenset(
        {"mentor_id", "threshold_day", "certification_expiry_date", "organization"}
    ),
}

# The connector writes a heartbeat every 10 s.
_QUIET_S, _DEAD_S = 30.0, 120.0
_MUCH_BYTES = 1 << 30

_PUBLICATION = (
    "SELECT puballtables, pubinsert AND pubupdate AND pubdelete AS is_whole, pubtruncate FROM"
    " pg_publication WHERE pubname = %s"
)
_TABLES = """
SELECT schemaname || '.' || tablename AS name, attnames::text[] AS columns, coalesce(rowfilter, '') AS filter
  FROM pg_publication_tables WHERE pubname = %s
"""
# to_jsonb, because some columns came with later versions.
_SLOT = """
SELECT s.plugin, s.database = current_database() AS is_here, s.active, s.wal_status, to_jsonb(s)->>'invalidation_reason' AS invalidated,
       pg_wal_lsn_diff(pg_current_wal_lsn(), s.confirmed_flush_lsn)::bigint AS behind_bytes,
       pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint AS kept_bytes, s.safe_wal_size
  FROM pg_replication_slots s WHERE s.slot_name = %s
"""
_IDENTITY = """
SELECT t.relreplident::text AS kind,
       ARRAY(SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
              WHERE i.indrelid = t.oid AND i.indisvalid
                AND CASE t.relreplident WHEN 'i' THEN i.indisreplident WHEN 'd' THEN i.indisprimary ELSE false END) AS columns
  FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace WHERE n.nspname || '.' || t.relname = %s
"""  # not by regclass: that needs USAGE of the application's schema, which our role has not
_HEARTBEAT = (
    "SELECT extract(epoch FROM now() - ts)::float8 AS age_s FROM hlf_sync.dbz_heartbeat WHERE"
    " id = 1"
)


async def publication(connection: Connection, name: str, organization: str) -> Finding:
    """What leaves the database: these tables, these columns, this organisation's mentors, every
    operation.
    """
    found = await rows(connection, _PUBLICATION, name)
    if not found:
        return fail(
            PUBLICATION,
            f"{name} does not exist",
            "an administrator runs connectors/sql/02_source.sql",
        )
    if found[0]["puballtables"]:
        return fail(
            PUBLICATION,
            f"{name} publishes all tables, personal columns with them",
            f"DROP PUBLICATION {name}; {_SOURCE_SQL}",
        )
    tables = {row["name"]: row for row in await rows(connection, _TABLES, name)}
    wrong = [*_columns_wrong(tables), *_filter_wrong(tables, organization)]
    if wrong:
        return fail(PUBLICATION, some(wrong), _SOURCE_SQL)
    if not found[0]["is_whole"] or not found[0]["pubtruncate"]:
        return fail(
            PUBLICATION,
            f"{name} leaves operations out",
            f"{_SOURCE_SQL}; all of insert, update, delete, truncate are needed",
        )
    return ok(
        PUBLICATION,
        f"{len(tables)} tables, only the listed columns, mentors of {organization} only",
    )


async def slot(connection: Connection, name: str) -> Finding:
    """Whether somebody reads the log, and how much is kept for it."""
    found = await rows(connection, _SLOT, name)
    if not found:
        return fail(
            SLOT,
            f"{name} does not exist",
            f"02_source.sql makes it; if changes were streamed before, {_LOST}",
        )
    return _unusable(name, found[0]) or _used(name, found[0])


def _unusable(name: str, row: Mapping[str, Any]) -> Finding | None:
    if row["plugin"] != "pgoutput" or not row["is_here"]:
        return fail(
            SLOT,
            f"{name} belongs to another database or plug-in",
            "drop it if nobody needs it, then 02_source.sql",
        )
    if row["wal_status"] == "lost" or row["invalidated"]:
        return fail(SLOT, f"{name} is invalidated ({row['invalidated'] or 'lost'})", _LOST)
    return None


def _used(name: str, row: Mapping[str, Any]) -> Finding:
    text = (
        f"{_size(row['behind_bytes'])} behind, {_size(row['kept_bytes'])} of log kept, wal_status"
        f" {row['wal_status']}"
    )
    if not row["active"]:
        return fail(
            SLOT,
            f"nobody reads {name}: {text}",
            "see connect.connector; the log grows until somebody reads it",
        )
    if row["wal_status"] == "unreserved":
        return fail(
            SLOT,
            text,
            "the log it needs is about to be removed: raise max_slot_wal_keep_size, see why the"
            " connector is slow",
        )
    if row["wal_status"] == "extended" or (row["kept_bytes"] or 0) > _MUCH_BYTES:
        return warn(
            SLOT, text, "see whether the connector keeps up, and whether the disk can hold it"
        )
    return ok(SLOT, f"active, {text}")


async def identities(connection: Connection) -> Finding:
    """What a change's 'before' holds: without it a mentor that leaves the organisation, or a
    deleted certification, could not be told.
    """
    wrong = []
    for table, wanted in IDENTIFIED_BY.items():
        found = await rows(connection, _IDENTITY, table)
        if not found:
            wrong.append(f"{table} does not exist")
        elif found[0]["kind"] == "f":
            wrong.append(f"{table} logs whole rows (FULL)")
        elif set(found[0]["columns"]) != wanted:
            wrong.append(
                f"{table} is identified by {some(sorted(found[0]['columns']), 5) or 'nothing'}"
            )
    if wrong:
        return fail(IDENTITIES, some(wrong), _SOURCE_SQL)
    return ok(IDENTITIES, "narrow indexes, as the publication needs them")


async def heartbeat(connection: Connection) -> Finding:
    """Whether the connector wrote into the database lately: it proves the way there, and moves the
    slot of an idle database.
    """
    age_s = (await one(connection, _HEARTBEAT))["age_s"]
    text = f"the connector's last one is {age_s:.0f} s old"
    if age_s > _DEAD_S:
        return fail(
            HEARTBEAT,
            text,
            "see connect.connector and connect.config (heartbeat.interval.ms,"
            " heartbeat.action.query)",
        )
    if age_s > _QUIET_S:
        return warn(
            HEARTBEAT,
            text,
            "every 10 s is normal: the connector has just started, or is busy or stuck",
        )
    return ok(HEARTBEAT, text)


def _columns_wrong(tables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    wrong = [f"{table} is not published" for table in PUBLISHED if table not in tables]
    wrong += [
        f"{table} is published, and should not be" for table in tables if table not in PUBLISHED
    ]
    for table, wanted in PUBLISHED.items():
        published = set(tables[table]["columns"]) if table in tables else wanted
        wrong += [
            f"{table}.{column} is published, and should not be"
            for column in sorted(published - wanted)
        ]
        wrong += [f"{table}.{column} is not published" for column in sorted(wanted - published)]
    return wrong


def _filter_wrong(tables: Mapping[str, Mapping[str, Any]], organization: str) -> list[str]:
    if "app.mentor" not in tables:
        return []
    literal = "'" + organization.replace("'", "''") + "'"
    row_filter = tables["app.mentor"]["filter"]
    if "organization_code" in row_filter and literal in row_filter:
        return []
    return [f"app.mentor's row filter is {row_filter or 'missing'}, should name {literal}"]


def _size(count: int | None) -> str:
    size = float(max(0, count or 0))
    for unit in ("B", "kB", "MB"):
        if size < 1024:  # noqa: PLR2004 - of bytes
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GB"
