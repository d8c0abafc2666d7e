"""The leader's look at the source, on a real PostgreSQL; Kafka's anchor and the connector are plain
values. Restored backups are made by taking back what a backup would take back.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from hlf_sync.core.breaker import BreakerPolicy, State
from hlf_sync.core.model import MentorId
from hlf_sync.core.source_health import Part
from hlf_sync.core.source_identity import Break, decode
from hlf_sync.postgres import clock_step
from hlf_sync.postgres.fleet_state import FleetTable
from hlf_sync.watch.source_watch import SourceSight

from tests.fakes.source_ground import Ground
from tests.fixtures.cluster import Cluster

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R67")]

MENTOR = "6f1a1f3c-0000-4000-8000-00000000000{}"


@pytest.fixture
async def ground(cluster: Cluster, database: str) -> AsyncIterator[Ground]:
    """Four mentors: listed; hidden; unknown to the ledger; another organisation's."""
    ground = Ground(cluster.dsn(database), cluster.dsn(database, "hlf_sync"))
    await ground.pool.open()
    for number, organization in ((1, "HLF"), (2, "HLF"), (3, "HLF"), (4, "XYZ")):
        ground.sql(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES"
            f" ('{MENTOR.format(number)}', '{organization}', 'active')"
        )
    ground.sql(
        "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state) VALUES"
        f" ('{MENTOR.format(1)}', 'visible', 'in_sync'), ('{MENTOR.format(2)}', 'hidden',"
        f" 'in_sync'), ('{MENTOR.format(4)}', NULL, 'out_of_scope')"
    )
    yield ground
    await ground.pool.close()


async def test_a_database_that_is_as_it_was_is_left_alone(ground: Ground) -> None:
    """Look after look, leader after leader; the anchor moves on with each."""
    for _ in range(3):
        await ground.watch.look()
    ground.watch = ground.lead()
    await ground.watch.look()
    assert ground.counts.counted == Counter()
    assert ground.requested() == set()
    beats = [anchor.beat for value in ground.anchors.values if (anchor := decode(value))]
    assert beats == [1, 2, 3, 4]
    sight = ground.watch.sight
    assert (sight.faults, sight.broken, sight.is_anchor_kept) == ((), None, True)


@pytest.mark.parametrize("is_same_leader", [True, False], ids=["same leader", "another leader"])
async def test_a_restored_backup_puts_everybody_in_doubt_and_asks_for_them(
    ground: Ground, is_same_leader: bool
) -> None:
    """Though its log has grown past the old position: the beat is older. Who is unknown counts as
    perhaps listed; another organisation's mentor whom we never had is left alone.
    """
    await ground.watch.look()
    backup = ground.backup()
    await ground.watch.look()
    await ground.watch.look()
    ground.restore(backup)
    if not is_same_leader:
        ground.watch = ground.lead()
    await ground.watch.look()
    assert ground.counts.counted == Counter({"went_back": 1})
    assert ground.requested() == {MENTOR.format(number) for number in (1, 2, 3, 4)}
    assert ground.ledger() == {
        MENTOR.format(1): ("in_doubt", "visible", "visible"),
        MENTOR.format(2): ("in_doubt", "hidden", "hidden"),
        MENTOR.format(3): ("in_doubt", None, "hidden"),
        MENTOR.format(4): ("out_of_scope", None, None),
    }
    assert ground.stream.resets == 1
    await ground.watch.look()
    assert ground.counts.counted == Counter({"went_back": 1})
    assert ground.watch.sight.broken is None


async def test_a_backup_that_grew_to_the_same_beat_is_told_by_its_token(ground: Ground) -> None:
    """A leader that could not reach Kafka never looks; but two histories can have as many looks."""
    await ground.watch.look()
    backup = ground.backup()
    await ground.watch.look()
    ground.restore(backup)
    ground.sql("UPDATE hlf_sync.source_watch SET beat = beat + 1, token = 'of another history'")
    ground.watch = ground.lead()
    await ground.watch.look()
    assert ground.counts.counted == Counter({"went_back": 1})


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"system": "1"}, Break.OTHER_DATABASE),
        ({"timeline": 7}, Break.OTHER_TIMELINE),
        ({"lsn": 1 << 60}, Break.WENT_BACK),
    ],
)
async def test_another_cluster_and_a_promoted_standby_are_told_apart(
    ground: Ground, change: dict[str, Any], cause: Break
) -> None:
    """A promoted standby that has everything needs no other position of the connector."""
    await ground.watch.look()
    anchor = decode(ground.anchors.values[-1])
    assert anchor is not None
    ground.anchors.values.append(replace(anchor, **change).encode())
    ground.watch = ground.lead()
    await ground.watch.look()
    assert ground.counts.counted == Counter({cause.value: 1})
    assert ground.stream.resets == (0 if cause is Break.OTHER_TIMELINE else 1)


async def test_a_connector_that_stands_ahead_of_the_log_forgets_its_position(
    ground: Ground,
) -> None:
    """A backup of a time when no worker ran, restored: the beat is the same, and Debezium would pass
    over every change until the log has grown past its old position.
    """
    await ground.watch.look()
    ground.stream.at = 1 << 60
    await ground.watch.look()
    assert (ground.stream.resets, ground.counts.counted["went_back"]) == (1, 1)


async def test_a_leader_that_cannot_reach_connect_tries_again_and_says_so(ground: Ground) -> None:
    """Everybody is put in doubt once; the anchor stays, so that a next leader would know too."""
    await ground.watch.look()
    backup = ground.backup()
    await ground.watch.look()
    ground.restore(backup)
    ground.stream.is_away = True
    kept = len(ground.anchors.values)
    for _ in range(2):
        await ground.watch.look()
    assert ground.watch.sight.broken is Break.WENT_BACK
    assert ground.counts.counted == Counter({"went_back": 1})
    assert len(ground.anchors.values) == kept
    ground.stream.is_away = False
    await ground.watch.look()
    assert _broken(ground) is None
    assert ground.counts.counted == Counter({"went_back": 1})


async def test_without_kafka_nothing_is_noted_in_the_database(ground: Ground) -> None:
    """Or a restored one would grow a beat that nobody has compared."""
    await ground.watch.look()
    backup = ground.backup()
    await ground.watch.look()
    ground.restore(backup)
    ground.watch, ground.anchors.is_away = ground.lead(), True
    await ground.watch.look()
    began_s = ground.watch.sight.seen_at_s
    await ground.watch.look()
    assert ground.watch.sight.seen_at_s == began_s  # so HlfSyncFiguresOld will say it
    assert ground.backup() == backup
    assert ground.watch.sight.is_anchor_kept is False
    ground.anchors.is_away = False
    await ground.watch.look()
    assert ground.counts.counted == Counter({"went_back": 1})


async def test_a_lost_anchor_topic_is_no_reason_to_believe_the_ledger(ground: Ground) -> None:
    """The database says that it was looked at, and Kafka knows nothing of it."""
    await ground.watch.look()
    ground.anchors.values.clear()
    ground.watch = ground.lead()
    await ground.watch.look()
    assert ground.counts.counted == Counter({"forgotten": 1})


@pytest.mark.parametrize(
    ("harm", "cure", "part"),
    [
        (
            "ALTER PUBLICATION hlf_mentor_pub DROP TABLE app.certification",
            (
                "ALTER PUBLICATION hlf_mentor_pub ADD TABLE app.certification (id, mentor_id,"
                " expires_at)"
            ),
            Part.PUBLICATION,
        ),
        (
            "DROP INDEX app.mentor_identity",
            (
                "CREATE UNIQUE INDEX mentor_identity ON app.mentor (id, organization_code); ALTER TABLE"
                " app.mentor REPLICA IDENTITY USING INDEX mentor_identity"
            ),
            Part.IDENTITIES,
        ),
        (
            "ALTER TABLE app.mentor RENAME TO m",
            "ALTER TABLE app.m RENAME TO mentor",
            Part.TABLES,
        ),
        (
            "ALTER VIEW hlf_sync.mentor_facts RENAME TO f",
            "ALTER VIEW hlf_sync.f RENAME TO mentor_facts",
            Part.VIEW,
        ),
    ],
)
async def test_what_is_broken_is_counted_and_everybody_is_looked_at_once_it_is_mended(
    ground: Ground, harm: str, cure: str, part: Part
) -> None:
    """Even by the next leader: that a sweep is owed is noted in the database."""
    await ground.watch.look()
    ground.sql(harm)
    await ground.watch.look()
    assert (ground.watch.sight.count(part) or 0) >= 1
    ground.watch = ground.lead()
    for statement in cure.split(";"):
        ground.sql(statement)
    for _ in range(2):
        await ground.watch.look()
    assert ground.watch.sight.faults == ()
    assert ground.counts.counted == Counter({"source_mended": 1})
    assert ground.requested() == {MENTOR.format(number) for number in (1, 2, 3, 4)}


async def test_a_publication_made_anew_between_two_looks_is_told_by_its_oid(
    ground: Ground,
) -> None:
    """It looks the same, and what was committed in between is in no record."""
    await ground.watch.look()
    (definition,) = ground.sql(
        "SELECT string_agg(format('%s (%s)%s', schemaname || '.' || tablename,"
        " array_to_string(attnames, ', '), coalesce(' WHERE ' || rowfilter, '')), ', ')"
        " FROM pg_publication_tables"
    )
    ground.sql("DROP PUBLICATION hlf_mentor_pub")
    ground.sql(f"CREATE PUBLICATION hlf_mentor_pub FOR TABLE {definition[0]}")
    await ground.watch.look()
    assert ground.watch.sight.faults == ()
    assert ground.counts.counted == Counter({"source_mended": 1})


@pytest.mark.requirement("R29")
async def test_a_clock_that_stepped_back_leaves_no_circuit_open_and_no_lease_held(
    ground: Ground,
) -> None:
    """By an hour: what was written a moment ago lies an hour ahead. Seen by its times alone, so a
    new leader of a promoted standby sees it too.
    """
    ground.sql(
        "INSERT INTO hlf_sync.circuit (organization, state, opened_at, closed_at, failure_count)"
        " VALUES ('HLF', 'open', now() + interval '1 hour', now() + interval '59 min', 3)"
    )
    ground.sql(
        "UPDATE hlf_sync.mentor_ledger SET intended = 'hidden', state = 'in_doubt', lease_owner ="
        " 'dead', lease_until = now() + interval '61 min', doubt_until = now() + interval '63 min',"
        f" reevaluate_at = now() + interval '63 min' WHERE mentor_id = '{MENTOR.format(1)}'"
    )
    await ground.watch.look()
    assert ground.sql(
        "SELECT opened_at <= now(), closed_at <= now(), version FROM hlf_sync.circuit"
    ) == [(True, True, 1)]
    assert ground.sql(
        "SELECT lease_until <= now() + interval '60 s', doubt_until <= now() + interval '180 s',"
        " reevaluate_at <= now() + interval '180 s' FROM hlf_sync.mentor_ledger WHERE lease_owner ="
        " 'dead'"
    ) == [(True, True, True)]
    policy = BreakerPolicy()
    fleet = FleetTable(ground.pool, "HLF", policy)
    ground.sql("UPDATE hlf_sync.circuit SET state = 'closed', failure_count = 0, opened_at = NULL")
    for _ in range(policy.failure_threshold):
        now_s = (await fleet.read()).now_s
        await fleet.failed(None, now_s, "server_error", None, MentorId(MENTOR.format(1)))
    assert (await fleet.read()).circuit.state is State.OPEN


@pytest.mark.requirement("R67")
async def test_a_clock_that_was_set_back_has_everybody_looked_at(ground: Ground) -> None:
    """Who lapsed by the wrong clock is valid again by the right one, and no row changes."""
    await ground.watch.look()
    asked = ground.sql("SELECT count(*) FROM hlf_sync.sync_request")
    database_s, ours_s = ground.watch._clock or (0.0, 0.0)
    ground.watch._clock = database_s + 3_600.0, ours_s
    for _ in range(2):
        await ground.watch.look()
    (mentors,) = ground.sql("SELECT count(*) FROM hlf_sync.mentor_facts")
    after = ground.sql("SELECT count(*) FROM hlf_sync.sync_request")
    assert mentors[0]
    assert after[0][0] - asked[0][0] >= mentors[0]


@pytest.mark.requirement("R67")
@pytest.mark.parametrize(("since", "step_s"), [("59 min", 0.0), ("-1 min", -3600.0)])
async def test_a_clock_that_stepped_back_delays_no_probing_request(
    ground: Ground, since: str, step_s: float
) -> None:
    """The halt would stand for the length of the step. And a proof of the future would make a
    letter of whoever is refused next.
    """
    ground.sql(
        "INSERT INTO hlf_sync.halt (reason, detail, since, probe_after) VALUES ('auth', '', now() +"
        f" interval '{since}', now() + interval '60 min')"
    )
    ground.sql(
        "INSERT INTO hlf_sync.circuit (organization, proved_at, accepted_at) VALUES ('HLF', now() +"
        " interval '1 hour', now() + interval '1 hour')"
    )
    async with ground.pool.connection() as connection:
        await clock_step.rebase(connection, lease_s=60, late_s=120, step_s=step_s)
        again = await clock_step.rebase(connection, lease_s=60, late_s=120, step_s=0.0)
    assert ground.sql("SELECT since <= now(), probe_after <= now() FROM hlf_sync.halt") == [
        (True, True)
    ]
    assert ground.sql("SELECT proved_at <= now(), accepted_at <= now() FROM hlf_sync.circuit") == [
        (True, True)
    ]
    assert again == 0


@pytest.mark.parametrize(
    ("minutes", "step_s", "left"), [(61, -3600.0, 1), (59, 0.0, 59), (420, 0.0, 60)]
)
async def test_a_pause_that_dynamics_asked_for_moves_with_the_clock(
    ground: Ground, minutes: int, step_s: float, left: int
) -> None:
    """Only a step that was seen tells how far it lies ahead; never longer than an hour, as in a
    backup from before a step of seven.
    """
    ground.sql(
        "INSERT INTO hlf_sync.circuit (organization, retry_after_until) VALUES ('HLF', now() +"
        f" interval '{minutes} min')"
    )
    async with ground.pool.connection() as connection:
        await clock_step.rebase(connection, lease_s=60, late_s=120, step_s=step_s)
    (row,) = ground.sql(
        "SELECT round(extract(epoch FROM retry_after_until - now()) / 60)::int FROM hlf_sync.circuit"
    )
    assert row == (left,)


async def test_only_the_leader_looks(ground: Ground) -> None:
    """Who leads no longer has seen nothing."""
    task = asyncio.create_task(ground.watch.run())
    try:
        async with asyncio.timeout(30):
            while ground.watch.sight.is_anchor_kept is None:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
    ground.leads = False
    task = asyncio.create_task(ground.watch.run())
    try:
        async with asyncio.timeout(30):
            while ground.watch.sight != SourceSight():
                await asyncio.sleep(0.01)
    finally:
        task.cancel()


def _broken(ground: Ground) -> Break | None:
    """Read anew: a type checker takes an attribute for what it was before."""
    return ground.watch.sight.broken


@pytest.mark.requirement("R06")
@pytest.mark.requirement("R08")
async def test_what_a_clock_that_was_ahead_has_stamped_counts_from_now(ground: Ground) -> None:
    """Removals would use up the mass change guard's allowance, a word would let removals through, no
    night and no pass would begin, for as long as the step.
    """
    ground.sql(
        "INSERT INTO hlf_sync.mentor_ledger (mentor_id, state, removal_at, updated_at) SELECT"
        " gen_random_uuid(), 'in_sync', now() + interval '30 d', now() + interval '30 d'"
    )
    ground.sql(
        "INSERT INTO hlf_sync.held_removal (mentor_id, confirmed_at) VALUES (gen_random_uuid(), now()"
        " + interval '30 d')"
    )
    ground.sql(
        "INSERT INTO hlf_sync.listing_pass (started_at, finished_at) VALUES (now() + interval '30 d',"
        " now() + interval '30 d')"
    )
    ground.sql(
        "INSERT INTO hlf_sync.nightly_run (run_date, finished_at) SELECT now()::date + days, now()"
        " FROM unnest('{-1,0,2,30}'::int[]) days"
    )
    async with ground.pool.connection() as connection:
        await clock_step.rebase(connection, lease_s=60, late_s=120, step_s=0.0)
        assert await clock_step.rebase(connection, lease_s=60, late_s=120, step_s=0.0) == 0
    assert ground.sql(
        "SELECT bool_and(removal_at <= now() AND updated_at <= now()) FROM hlf_sync.mentor_ledger"
        " WHERE removal_at IS NOT NULL"
    ) == [(True,)]
    assert ground.sql("SELECT confirmed_at <= now() FROM hlf_sync.held_removal") == [(True,)]
    assert ground.sql(
        "SELECT bool_and(started_at <= now() AND finished_at <= now()) FROM hlf_sync.listing_pass"
    ) == [(True,)]
    assert ground.sql(
        "SELECT run_date - now()::date FROM hlf_sync.nightly_run ORDER BY run_date"
    ) == [(-1,), (0,)]
