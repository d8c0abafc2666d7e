"""The leader writes down what holds up the fleet; coordinators see it, in words and times alone."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hlf_sync.core.fleet_verdict import Reason
from hlf_sync.postgres.connections import Pool, open_pool
from hlf_sync.worker.fleet_reporting import EVERY_S, FleetReporting

from tests.fixtures.cluster import Cluster
from tests.fixtures.web import Issuer, serving, until

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R61")]

MENTOR = "6f1a1f3c-0000-4000-8000-000000000001"


class Office:
    """A worker that leads, or does not, beside its database."""

    def __init__(self, dsn: str, pool: Pool) -> None:
        self.dsn = dsn
        self.reasons: list[tuple[Reason, float]] = []
        self.leads, self.term, self.has_looked = True, 1, True
        self.reporting = FleetReporting(
            pool=pool,
            organization="HLF",
            reasons=lambda: self.reasons,
            leads=lambda: self.leads,
            term=lambda: self.term,
            has_looked=lambda: self.has_looked,
        )

    def sql(self, statement: str, *values: object) -> list[Any]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def row(self) -> dict[str, float] | None:
        """What is reported: reason → since; None before the first report."""
        found = self.sql("SELECT reasons FROM hlf_sync.fleet_verdict")
        return {one["reason"]: one["since_s"] for one in found[0][0]} if found else None

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(holds):
                await asyncio.sleep(0.05)


@pytest.fixture
async def office(cluster: Cluster, database: str) -> AsyncIterator[Office]:
    pool = open_pool(cluster.dsn(database, "hlf_sync"), size=2)
    await pool.open()
    office = Office(cluster.dsn(database), pool)
    task = asyncio.create_task(office.reporting.run())
    yield office
    task.cancel()
    await pool.close()


async def test_a_reason_is_written_with_since_when_and_keeps_it_over_a_change_of_leader(
    office: Office,
) -> None:
    await office.until(lambda: office.row() == {})
    office.reasons = [(Reason.CONNECTOR_FAILED, 0.0), (Reason.SOURCE_SILENT, 75.0)]
    await office.until(lambda: len(office.row() or {}) == 2)
    first = office.row() or {}
    assert list(first) == ["connector_failed", "source_silent"]
    assert 74 < first["connector_failed"] - first["source_silent"] < 76
    office.term = 2
    office.reasons = [(Reason.SOURCE_SILENT, 90.0)]
    await office.until(lambda: list(office.row() or {}) == ["source_silent"])
    assert office.row() == {"source_silent": first["source_silent"]}


async def test_a_sign_of_life_comes_well_within_the_half_minute(office: Office) -> None:
    read = "SELECT reported_at, now() FROM hlf_sync.fleet_verdict"
    await office.until(lambda: bool(office.sql(read)))
    ((before, _),) = office.sql(read)
    await office.until(lambda: office.sql(read)[0][0] > before)
    ((after, _),) = office.sql(read)
    assert (after - before).total_seconds() < 2 * EVERY_S


async def test_who_does_not_lead_or_has_not_looked_at_the_source_yet_reports_nothing(
    office: Office,
) -> None:
    """A leader's first words must not say that all is well with what it has not seen."""
    await office.until(lambda: office.row() == {})
    office.sql("DELETE FROM hlf_sync.fleet_verdict")
    office.leads, office.reasons = False, [(Reason.KAFKA_DOWN, 0.0)]
    await asyncio.to_thread(
        office.sql, "SELECT pg_sleep(2.5)"
    )  # a turn and a half of the reporting
    office.has_looked, office.leads, office.term = False, True, 2
    await asyncio.to_thread(office.sql, "SELECT pg_sleep(2.5)")
    assert office.row() is None
    await office.until(lambda: "kafka_down" in (office.row() or {}))


@pytest.mark.requirement("R82")
@pytest.mark.requirement("R83")
async def test_coordinators_read_of_it_reasons_and_times_and_may_not_write_it(
    office: Office, cluster: Cluster, database: str
) -> None:
    office.reasons = [(Reason.KAFKA_DOWN, 0.0)]
    await office.until(lambda: "kafka_down" in (office.row() or {}))
    with psycopg.connect(cluster.dsn(database, "hlf_web"), autocommit=True) as web:
        (content,) = web.execute(
            "SELECT content -> 'reports' FROM hlf_sync.coordinator_view WHERE kind = 'fleet'"
        ).fetchone() or (None,)
        assert content["HLF"].keys() == {"reasons", "reported_s", "age_s"}
        assert [one.keys() for one in content["HLF"]["reasons"]] == [{"reason", "since_s"}]
        for statement in (
            "SELECT FROM hlf_sync.fleet_verdict",
            "DELETE FROM hlf_sync.fleet_verdict",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                web.execute(statement.encode())


def test_the_service_tells_what_the_leader_reports_and_of_no_other_organisation(
    cluster: Cluster, database: str, tmp_path: Path
) -> None:
    """Red before: 'Updates are delivered as they come', and the mentor's update 'on its way'."""
    issuer = Issuer()
    report = (
        "INSERT INTO hlf_sync.fleet_verdict SELECT %s, jsonb_build_array(jsonb_build_object('reason',"
        " %s::text, 'since_s', extract(epoch FROM now()) - 300)), now()"
    )
    with (
        psycopg.connect(cluster.dsn(database), autocommit=True) as books,
        serving(tmp_path, cluster.dsn(database, "hlf_web"), issuer) as service,
    ):
        books.execute("SELECT pg_advisory_lock(hashtext('hlf_sync.leader'))")
        books.execute(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', 'paused')",
            (MENTOR,),
        )
        books.execute(
            "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, triggered_by) VALUES (%s,"
            " 'visible', 'in_sync', 'manual_coordinator_action')",
            (MENTOR,),
        )

        def page() -> dict[str, Any]:
            answer = service.client.get("/api/v1/pending", headers=issuer.bearer())
            return answer.json() if answer.is_success else {}

        books.execute(report.encode(), ("NKS", "connector_failed"))
        until(lambda: len(page().get("items", [])) == 1)
        (item,) = page()["items"]
        assert (page()["verdict"], item["cause"], item["triggered_by"]) == ("ok", "waiting", None)
        books.execute(report.encode(), ("HLF", "kafka_down"))
        until(lambda: page()["verdict_reason"] == "kafka_down")
        found = page()
        (item,) = found["items"]
        assert (found["verdict"], item["cause"]) == ("stalled", "unread")
        assert found["verdict_since"] < found["as_of"]
        assert "connector" not in json.dumps(found)
        one = service.client.get(f"/api/v1/mentors/{MENTOR}", headers=issuer.bearer()).json()
        assert (one["cause"], one["triggered_by"]) == ("unread", None)
        books.execute("UPDATE hlf_sync.fleet_verdict SET reasons = '[]'")
        books.execute(
            "INSERT INTO hlf_sync.listing_wrong VALUES (%s, 'hidden', now() - interval '58 s')",
            (MENTOR,),
        )
        until(lambda: page()["verdict"] == "ok" and page()["items"][0]["cause"] == "late")
