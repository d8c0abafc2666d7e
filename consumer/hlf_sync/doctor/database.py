"""PostgreSQL as we use it: reachable and writable, least privilege of both roles, our schema's
version, the facts view's columns.

Asks with the sync role's own connection; every question is a SELECT. Names of application tables
may be shown, values never.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, assert_never

from hlf_sync.clock import epoch_ms
from hlf_sync.core.source_health import VIEW_COLUMNS
from hlf_sync.doctor.clocks import Clocks
from hlf_sync.doctor.examination import ASK_S
from hlf_sync.doctor.finding import Finding, fail, ok, some, warn
from hlf_sync.errors import DependencyError
from hlf_sync.postgres import suitability
from hlf_sync.postgres.connections import DatabaseError, NamedRow
from hlf_sync.postgres.migrate import MigrationError, due, read_migrations
from hlf_sync.postgres.one_connection import Questions, Refusal, questions, refusal_of
from hlf_sync.postgres.refusal_words import reason
from hlf_sync.postgres.statements import doctor as sql

REACH, RELEASE, POOLER, ROLE, CDC_ROLE, COPY, SCHEMA, VIEW = (
    "postgres",
    "postgres.release",
    "postgres.pooler",
    "postgres.role",
    "postgres.cdc_role",
    "postgres.cluster_copy",
    "postgres.schema",
    "postgres.view",
)

Connection = Questions
Check = Callable[[Connection], Awaitable[Finding]]

_OLDEST = 150000
# The last release of each version that mends a security fault, as of this program's release.
_SAFE = {15: 19, 16: 15, 17: 11, 18: 6}
_STRONG = ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb")
_SOURCE_SQL = "an administrator runs connectors/sql/02_source.sql again"


def connected(
    dsn: str, name: str = "HLF_SYNC_POSTGRES_DSN"
) -> AbstractAsyncContextManager[Connection]:
    """One connection for some questions; raises `DependencyError` or `SettingsError`."""
    return questions(dsn, name, ASK_S)


async def ask(connection: Connection, check: str, look: Check) -> Finding:
    """One check; a question that PostgreSQL refuses is a finding, a connection that
    breaks is not.
    """
    try:
        return await look(connection)
    except DatabaseError as error:
        refusal = refusal_of(error)
        if refusal is not None:
            return _refused(check, refusal)
        if connection.broken:
            raise DependencyError("PostgreSQL", reason(error)) from error
        raise


async def server(connection: Connection, clocks: Clocks) -> Finding:
    """Version, write access, wal_level; notes the clock."""
    before_s = epoch_ms() / 1000
    row = await one(connection, sql.SERVER)
    clocks.database_s = row["now_s"] - (before_s + epoch_ms() / 1000) / 2
    if row["number"] < _OLDEST:
        return fail(
            REACH,
            f"is version {row['version']}",
            "15 or later is needed: publications' column lists came with it",
        )
    if row["is_standby"]:
        return fail(
            REACH,
            "is a read-only standby",
            "let HLF_SYNC_POSTGRES_DSN name the primary (target_session_attrs=read-write)",
        )
    if row["wal_level"] != "logical":
        return fail(
            REACH,
            f"wal_level is {row['wal_level']}",
            "ALTER SYSTEM SET wal_level = logical, then restart PostgreSQL",
        )
    return ok(REACH, f"version {row['version']}, writable, wal_level logical")


async def release(connection: Connection) -> Finding:
    """Whether the server has the last security release of its version."""
    number = (await one(connection, sql.SERVER))["number"]
    version, minor = divmod(number, 10_000)
    least = _SAFE.get(version)
    if least is not None and minor < least:
        return warn(
            RELEASE,
            f"version {version}.{minor} lacks security fixes",
            f"update to {version}.{least} or later: same files, a restart",
        )
    return ok(RELEASE, f"version {version}.{minor} has every security fix known to this hlf-sync")


async def pooler(_connection: Connection, dsn: str) -> Finding:
    """Whether each connection is a session of its own."""
    if await suitability.is_pooled(dsn):
        return fail(POOLER, suitability.POOLER, suitability.POOLER_FIX)
    return ok(POOLER, "each connection is a session of its own")


async def cluster_copy(connection: Connection) -> Finding:
    """R82: REPLICATION, which Debezium needs, also lets pg_basebackup in, unless pg_hba.conf says
    otherwise.
    """
    may = (await one(connection, sql.MAY_COPY))["may"]
    fix = (
        "the first lines of pg_hba.conf: `host replication hlf_cdc all reject`, then"
        " pg_reload_conf()"
    )
    if may is None:
        return warn(COPY, "whether hlf_cdc may copy the whole cluster cannot be seen here", fix)
    if may:
        return warn(COPY, "pg_hba.conf lets hlf_cdc copy the whole cluster (pg_basebackup)", fix)
    return ok(COPY, "pg_hba.conf lets hlf_cdc read the log and not copy the cluster")


async def role(connection: Connection) -> Finding:
    """R82: our role reads the view and nothing else of the application's, and is nobody's
    superuser.
    """
    row = await one(connection, sql.OWN_ROLE)
    strong = _strong(row, (*_STRONG, "rolreplication"))
    if strong:
        return fail(
            ROLE,
            f"{row['name']} has {some(strong, 5)}",
            f"ALTER ROLE {row['name']} NO…, or connect as hlf_sync",
        )
    foreign = [found["name"] for found in await rows(connection, sql.FOREIGN)]
    if foreign:
        return fail(
            ROLE,
            f"{row['name']} can reach {some(foreign)} of the application's",
            f"REVOKE it (look at PUBLIC too); {_SOURCE_SQL}",
        )
    if row["member_of"]:
        return warn(
            ROLE,
            f"{row['name']} may act as {some(row['member_of'])}",
            "REVOKE the membership: it is not needed",
        )
    return ok(ROLE, f"{row['name']} reaches the view and nothing else of the application's")


async def cdc_role(connection: Connection, publication: str) -> Finding:
    """R82: Debezium's role reads the published columns and no other."""
    found = await rows(connection, sql.CDC_ROLE)
    if not found:
        return fail(
            CDC_ROLE,
            "hlf_cdc does not exist",
            "an administrator runs connectors/sql/01_roles.sql and 02_source.sql",
        )
    if strong := _strong(found[0], _STRONG):
        return fail(
            CDC_ROLE,
            f"hlf_cdc has {some(strong, 5)}",
            "ALTER ROLE hlf_cdc NO…: it needs REPLICATION and its columns only",
        )
    columns = await rows(connection, sql.CDC_COLUMNS, publication)
    extra = [column["name"] for column in columns if not column["is_published"]]
    if extra:
        return fail(
            CDC_ROLE, f"hlf_cdc can read {some(extra)}, which is not published", _SOURCE_SQL
        )
    if lacking := [column["name"] for column in columns if column["is_published"]]:
        return fail(
            CDC_ROLE, f"hlf_cdc cannot read {some(lacking)}: the connector will fail", _SOURCE_SQL
        )
    if not found[0]["rolreplication"]:
        return warn(
            CDC_ROLE,
            "hlf_cdc lacks REPLICATION",
            "ALTER ROLE hlf_cdc REPLICATION, unless your provider has a role for it",
        )
    return ok(CDC_ROLE, "hlf_cdc reads the published columns and no other")


async def schema(connection: Connection) -> Finding:
    """Whether the tables are this program's."""
    recorded = {
        row["version"]: (row["name"], row["sha256"]) for row in await rows(connection, sql.VERSIONS)
    }
    migrations = read_migrations()
    try:
        pending = due(migrations, recorded)
    except MigrationError as error:
        return fail(
            SCHEMA, str(error), "run the hlf-sync that made the tables, or restore the file"
        )
    if pending:
        return fail(
            SCHEMA, f"lacks {some([one.name for one in pending])}", "run `hlf-sync migrate`"
        )
    newer = sorted(recorded.keys() - {one.version for one in migrations})
    if newer:
        return warn(
            SCHEMA,
            f"is ahead: a newer hlf-sync has applied {recorded[newer[-1]][0]}",
            "run the newer hlf-sync everywhere",
        )
    return ok(SCHEMA, f"version {max(recorded):04}, as this hlf-sync expects")


async def view(connection: Connection) -> Finding:
    """The contract between the application and us."""
    found = {row["name"]: row["type"] for row in await rows(connection, sql.VIEW)}
    if not found:
        return fail(
            VIEW,
            "hlf_sync.mentor_facts does not exist",
            "an administrator runs connectors/sql/02_source.sql",
        )
    wrong = [
        f"{name} is {found.get(name, 'missing')}, should be {kind}"
        for name, kind in VIEW_COLUMNS.items()
        if found.get(name) != kind
    ]
    if wrong:
        return fail(
            VIEW,
            some(wrong),
            "correct the view: docs and connectors/sql/02_source.sql say what each column means",
        )
    await rows(connection, sql.ONE_MENTOR)
    extra = sorted(found.keys() - VIEW_COLUMNS.keys())
    if extra:
        return warn(
            VIEW,
            f"shows more than is read: {some(extra)}",
            "take it out of the view: what is not needed cannot leak",
        )
    return ok(VIEW, "hlf_sync.mentor_facts has its six columns and can be read")


async def rows(connection: Connection, statement: str, *values: object) -> Sequence[NamedRow]:
    """The answer's rows."""
    return await (await connection.execute(statement.encode(), values or None)).fetchall()


async def one(connection: Connection, statement: str, *values: object) -> Mapping[str, Any]:
    """The answer's one row."""
    return (await rows(connection, statement, *values))[0]


def _refused(check: str, refusal: Refusal) -> Finding:
    match refusal:
        case Refusal.MISSING:
            return fail(
                check,
                "a table or role of ours is missing",
                "connectors/sql/01_roles.sql, then `hlf-sync migrate`, then 02_source.sql",
            )
        case Refusal.FORBIDDEN:
            return fail(check, "our role may not look at it", _SOURCE_SQL)
        case Refusal.TOO_SLOW:
            return warn(
                check,
                f"no answer within {ASK_S:g} s",
                "PostgreSQL is busy or something is locked: look at pg_stat_activity",
            )
        case _:
            assert_never(refusal)


def _strong(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [name.removeprefix("rol") for name in names if row[name]]
