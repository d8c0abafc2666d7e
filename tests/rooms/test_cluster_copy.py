"""R82: `hlf_cdc` reads the log, and pg_hba.conf keeps it from copying the whole cluster, which its
REPLICATION attribute alone would allow.
"""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hlf_sync.config.settings import Settings
from hlf_sync.doctor.checkup import check_up
from hlf_sync.doctor.finding import Finding

from tests.fixtures.cluster import Cluster

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R82")]

RULE = "host replication hlf_cdc all reject"


class Access:
    """The cluster's pg_hba.conf."""

    def __init__(self, cluster: Cluster, database: str) -> None:
        self.cluster, self.database = cluster, database
        self._file = Path(cluster._data) / "pg_hba.conf"
        self._before = self._file.read_text()

    def lines(self, *first: str) -> None:
        """With these lines before the others."""
        self._file.write_text("\n".join([*first, self._before]))
        with psycopg.connect(self.cluster.dsn("postgres"), autocommit=True) as connection:
            connection.execute("SELECT pg_reload_conf()")

    def may(self, way: str) -> bool:
        """Whether hlf_cdc is let in: `true` copies clusters, `database` streams one database's
        changes.
        """
        dsn = f"{self.cluster.dsn(self.database, 'hlf_cdc')} replication={way}"
        try:
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("IDENTIFY_SYSTEM")
        except psycopg.OperationalError as error:
            refusal = str(error)
        else:
            return True
        assert "pg_hba.conf rejects replication connection" in refusal
        return False

    async def doctor(self) -> Finding:
        """What it says of that."""
        dsn = self.cluster.dsn(self.database, "hlf_sync")
        found = await check_up(Settings.model_validate({"postgres_dsn": dsn}), None, [])
        return next(one for one in found.findings if one.check == "postgres.cluster_copy")


@pytest.fixture
def access(cluster: Cluster, database: str) -> Iterator[Access]:
    """As it was, afterwards."""
    access = Access(cluster, database)
    yield access
    access.lines()


async def test_a_rule_keeps_the_cluster_from_being_copied_and_lets_the_stream_through(
    access: Access,
) -> None:
    """And `doctor` sees it, though our role may not read the file."""
    access.lines()
    assert access.may("true")
    assert access.may("database")
    finding = await access.doctor()
    assert "copy the whole cluster" in finding.text
    assert RULE in finding.fix
    access.lines(RULE)
    while access.may("true"):  # the postmaster reads the file a moment later
        pass
    assert access.may("database")
    assert "read the log and not copy" in (await access.doctor()).text


@pytest.mark.parametrize(
    "rules",
    [
        ("host replication all 127.0.0.1/32 trust", RULE),
        ("host replication hlf_cdc 10.0.0.0/8 reject",),
        ("hostssl replication hlf_cdc all reject",),
    ],
    ids=["after another", "of one network", "with TLS only"],
)
async def test_a_rule_that_does_not_close_the_way_is_not_taken_for_one(
    access: Access, rules: tuple[str, ...]
) -> None:
    """The first line that fits decides."""
    access.lines(*rules)
    assert "copy the whole cluster" in (await access.doctor()).text
