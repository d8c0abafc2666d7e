"""Makes a running stack the one that contract.md describes: database, tables, roles, topics,
connector.

Called by `hlf_sync_sandbox.stack` while the last parts still start. Every step may be run again at
any time. The SQL, the topics and the connector are those of production (`connectors/`,
`consumer/`): the sandbox adds only the application's tables and passwords.
"""

import contextlib
import time

import httpx
import psycopg
from hlf_sync.config.settings import Settings
from hlf_sync.connect.connector import (
    Connector,
    apply_connector,
    places,
    read_connector,
)
from hlf_sync.connect.standing import ConnectorStanding, RunPatience
from hlf_sync.errors import HlfSyncError
from hlf_sync.kafka.topics import ensure_topics, read_topics
from hlf_sync.packaged import read
from hlf_sync.postgres.migrate import migrate
from psycopg import sql

from hlf_sync_sandbox.errors import PartError
from hlf_sync_sandbox.parts import connect, postgres
from hlf_sync_sandbox.parts.part import Site
from hlf_sync_sandbox.parts.postgres import DATABASE
from hlf_sync_sandbox.resources import resource

ROLES = ("hlf_cdc", "hlf_sync", "hlf_web")

_STREAMING_S = 20.0
_WAKE_AFTER_S = 0.5
_PAUSE_S = 0.05

_defaults = Settings()


def provision_database(site: Site) -> None:
    """The application's tables, then what an administrator and `hlf-sync migrate` would do."""
    try:
        with psycopg.connect(postgres.admin_dsn(site, "postgres"), autocommit=True) as connection:
            if not connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)
            ).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        with psycopg.connect(postgres.admin_dsn(site, DATABASE), autocommit=True) as connection:
            connection.execute(resource("sql/app.sql").read_bytes())
            connection.execute(read("sql/01_roles.sql").encode())
            for role in ROLES:
                # Hashed here: a statement may end in PostgreSQL's log.
                secret = connection.pgconn.encrypt_password(
                    site.passwords[role].encode(), role.encode()
                ).decode()
                connection.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                        sql.Identifier(role), sql.Literal(secret)
                    )
                )
            migrate(postgres.dsn(site, "hlf_sync", DATABASE))
            connection.execute(read("sql/02_source.sql").encode())
    except (psycopg.Error, HlfSyncError) as error:
        raise PartError(
            "postgres", f"setting up the database failed: {error}", *site.advice("postgres")
        ) from error


def provision_topics(site: Site) -> None:
    """The topics of connectors/topics.json, as one broker can hold them."""
    wanted = read_topics(
        changes_topic=_defaults.changes_topic,
        dead_letters_topic=_defaults.dead_letters_topic,
        replicas=1,
    )
    try:
        ensure_topics({"bootstrap.servers": site.address("kafka")}, wanted)
    except HlfSyncError as error:
        raise PartError(
            "kafka", f"creating the topics failed: {error}", *site.advice("kafka")
        ) from error


def provision_connector(site: Site, deadline_s: float) -> bool:
    """What `hlf-sync connector apply` does; returns when connector and task run, and says whether
    they already read PostgreSQL's log.
    """
    organization, topic = _defaults.organization, _defaults.changes_topic
    values = places(
        organization=organization, changes_topic=topic, source_file=str(connect.source_file(site))
    )
    try:
        connector = read_connector(None, values)
        report = apply_connector(
            connect.url(site),
            connector,
            deadline_s=deadline_s,
            patience=RunPatience(settle_s=0.3, run_s=0.3, must_move=False),
            say=lambda _line: None,
        )
    except HlfSyncError as error:
        raise PartError(
            "connect", f"the connector could not be applied: {error}", *site.advice("connect")
        ) from error
    advice, end = site.advice("connect")
    if report.standing is not ConnectorStanding.RUNNING:
        what = f"the connector is {report.standing}, not RUNNING"
        raise PartError("connect", what, report.advice or advice, "\n".join((*report.trace, end)))
    try:
        return _await_streaming(site, connector, may_wait=report.action == "unchanged")
    except psycopg.Error as error:
        raise PartError(
            "postgres", f"asking for the replication slot failed: {error}", *site.advice("postgres")
        ) from error


def _await_streaming(site: Site, connector: Connector, *, may_wait: bool) -> bool:
    """Wait until the connector holds its replication slot. It does not during a long snapshot: then
    this gives up without complaint.

    RUNNING is not enough: a task whose database was killed is RUNNING too, and waits 10 s before it
    tries again. A restart wakes it.
    """
    began = time.monotonic()
    query = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
    with psycopg.connect(postgres.admin_dsn(site, DATABASE), autocommit=True) as connection:
        while connection.execute(query, (connector.config["slot.name"],)).fetchone() != (True,):
            waited = time.monotonic() - began
            if waited > _STREAMING_S:
                return False
            if may_wait and waited > _WAKE_AFTER_S:
                may_wait = False
                restart = (
                    f"{connect.url(site)}/connectors/{connector.name}/restart?includeTasks=true"
                )
                with contextlib.suppress(httpx.HTTPError):
                    httpx.post(restart, timeout=_STREAMING_S, trust_env=False)
            time.sleep(_PAUSE_S)
    return True
