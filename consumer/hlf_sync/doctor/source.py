"""The stream's beginning in PostgreSQL: publication, replication slot, replica identities,
heartbeat. Called with the sync role's connection.
"""

from collections.abc import Mapping
from typing import Any

from hlf_sync.core import source_health
from hlf_sync.core.quantities import size
from hlf_sync.core.source_health import Fault, Part
from hlf_sync.doctor.database import Connection, one, rows
from hlf_sync.doctor.finding import Finding, fail, ok, some, warn
from hlf_sync.postgres.source_shape import read_shape
from hlf_sync.postgres.statements import doctor as sql

PUBLICATION, SLOT, TABLES, IDENTITIES, HEARTBEAT = (
    "source.publication",
    "source.slot",
    "source.tables",
    "source.identities",
    "source.heartbeat",
)

_LOST = "changes are lost to the stream: 'The slot is lost' in connectors/README.md"

# The connector writes a heartbeat every 10 s.
_QUIET_S, _DEAD_S = 30.0, 120.0
_MUCH_BYTES = 1 << 30


async def publication(connection: Connection, name: str, organization: str) -> Finding:
    """What leaves the database: these tables, these columns, this organisation's mentors, every
    operation.
    """
    shape = await read_shape(connection, name)
    if wrong := source_health.publication_faults(shape, name, organization):
        return _failed(PUBLICATION, wrong)
    tables = len(shape.publication.tables) if shape.publication else 0
    return ok(
        PUBLICATION, f"{tables} tables, only the listed columns, mentors of {organization} only"
    )


def _failed(check: str, wrong: list[Fault]) -> Finding:
    return fail(check, some([one.text for one in wrong]), wrong[0].fix)


async def slot(connection: Connection, name: str) -> Finding:
    """Whether somebody reads the log, and how much is kept for it."""
    found = await rows(connection, sql.SLOT, name)
    if not found:
        return fail(
            SLOT,
            f"{name} does not exist",
            f"02_source.sql makes it; if changes were streamed before, {_LOST}",
        )
    return _unusable(name, found[0]) or _used(name, found[0])


def _unusable(name: str, row: Mapping[str, Any]) -> Finding | None:
    if row["plugin"] == "pgoutput" and not row["is_here"]:
        return fail(
            SLOT,
            f"{name} belongs to the database {row['database']}; HLF_SYNC_POSTGRES_DSN names"
            f" {row['here']}",
            f"name {row['database']} there; drop the slot only if nothing of {row['database']} is"
            " to be streamed any more, then run 02_source.sql here",
        )
    if row["plugin"] != "pgoutput":
        return fail(
            SLOT,
            f"{name} belongs to another plug-in ({row['plugin']})",
            "drop it if nobody needs it, then 02_source.sql",
        )
    if row["wal_status"] == "lost" or row["invalidated"]:
        return fail(SLOT, f"{name} is invalidated ({row['invalidated'] or 'lost'})", _LOST)
    return None


def _used(name: str, row: Mapping[str, Any]) -> Finding:
    text = (
        f"{size(row['behind_bytes'] or 0)} behind, {size(row['kept_bytes'] or 0)} of log kept, wal_status"
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


async def tables(connection: Connection, name: str) -> Finding:
    """Whether the tables behind view and publication are there, of a kind and with types that can
    be captured, and are those that the view reads.
    """
    shape = await read_shape(connection, name)
    wrong = [
        one
        for one in source_health.faults(shape, name, "")
        if one.part is Part.TABLES or (one.part is Part.VIEW and "does not read" in one.text)
    ]
    if wrong:
        return _failed(TABLES, wrong)
    return ok(TABLES, "the tables behind view and publication are there, with usable types")


async def identities(connection: Connection, name: str) -> Finding:
    """What a change's 'before' holds: without it a mentor that leaves the organisation, or a
    deleted certification, could not be told.
    """
    if wrong := source_health.identity_faults(await read_shape(connection, name)):
        return _failed(IDENTITIES, wrong)
    return ok(IDENTITIES, "narrow indexes, as the publication needs them")


async def heartbeat(connection: Connection) -> Finding:
    """Whether the connector wrote into the database lately: it proves the way there, and moves the
    slot of an idle database.
    """
    age_s = (await one(connection, sql.HEARTBEAT))["age_s"]
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
