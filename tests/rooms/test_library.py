"""The library on a real PostgreSQL and the emulator: what it calls, what it leaves alone, and what
it leaves to the workers.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import structlog
from hlf_sync import (
    ContractError,
    DependencyError,
    DynamicsError,
    ErrorCode,
    HaltReason,
    MentorMappingError,
    Outcome,
    PortalVisibility,
    State,
    open_portal,
)
from hlf_sync.config.settings import Settings
from hlf_sync_sandbox.dynamics.control import DynamicsControl
from hlf_sync_sandbox.dynamics.launch import running_emulator

from tests.fixtures.cluster import Cluster

pytestmark = pytest.mark.postgres


class World:
    """Mentors whose contact has their own id, the CRM, and settings that fit."""

    def __init__(self, dsn: str, sync_dsn: str, dynamics: DynamicsControl) -> None:
        self.dsn, self.dynamics = dsn, dynamics
        found = dynamics.settings
        self.values: dict[str, Any] = {
            "postgres_dsn": sync_dsn,
            "request_timeout_s": 2,  # half of it for connecting, on a machine that may be busy
            "late_effect_s": 1,
            "pace_requests_per_s": 10_000,
            **{
                f"dynamics_{name}": found[name]
                for name in (
                    "base_url",
                    "authority",
                    "tenant_id",
                    "client_id",
                    "client_secret",
                    "ca_file",
                )
            },
        }

    def settings(self, **changes: Any) -> Settings:
        return Settings.model_validate(self.values | changes)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def mentor(
        self,
        status: str = "active",
        *,
        is_shown: bool | None = True,
        is_mapped: bool = True,
        organization: str = "HLF",
    ) -> str:
        mentor_id = str(uuid4())
        self.sql(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, %s, %s)",
            mentor_id,
            organization,
            status,
        )
        self.sql(
            "INSERT INTO app.certification VALUES (gen_random_uuid(), %s, 'valid', now() + interval"
            " '1 year')",
            mentor_id,
        )
        if is_mapped:
            self.sql("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", mentor_id, mentor_id)
        self.dynamics.put_contacts({mentor_id: is_shown})
        return mentor_id

    def ledger(self, mentor_id: str) -> tuple[Any, ...]:
        """applied, state, attempts, is there a lease, is a look due within the lease."""
        rows = self.sql(
            "SELECT applied, state, attempt_count, lease_owner IS NOT NULL, coalesce(reevaluate_at"
            " < now() + interval '61 s', false) FROM hlf_sync.mentor_ledger WHERE mentor_id = %s",
            mentor_id,
        )
        return rows[0] if rows else ()

    def requests(self, mentor_id: str) -> list[tuple[Any, ...]]:
        return self.sql(
            "SELECT triggered_by, reason FROM hlf_sync.sync_request WHERE mentor_id = %s", mentor_id
        )

    def calls(self) -> list[tuple[str, Any]]:
        return [(call["contact_id"], call["columns"]) for call in self.dynamics.journal(kind="api")]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DynamicsControl]:
    """One emulator for the module."""
    with running_emulator(tmp_path_factory.mktemp("dynamics")) as control:
        yield control


@pytest.fixture
def world(cluster: Cluster, database: str, running: DynamicsControl) -> Iterator[World]:
    """A fresh world."""
    running.reset(contacts=True, journal=True)
    running.unlimited()
    yield World(cluster.dsn(database), cluster.dsn(database, "hlf_sync"), running)
    running.reset()


@pytest.fixture
async def portal(world: World) -> AsyncIterator[PortalVisibility]:
    """The library, opened."""
    async with open_portal(world.settings()) as portal:
        yield portal


@pytest.mark.requirement("R20")
async def test_remove_and_restore_deliver_what_the_facts_ask_for(
    world: World, portal: PortalVisibility
) -> None:
    """One call each, in the ledger like a worker's, and a typed answer."""
    leaver, comer = world.mentor("paused"), world.mentor("reinstated", is_shown=False)
    removed, restored = await portal.remove_mentor(leaver), await portal.restore_mentor(comer)
    assert world.dynamics.contacts() == {leaver: False, comer: True}
    assert world.calls() == [
        (leaver, {"new_showonwebsite": False}),
        (comer, {"new_showonwebsite": True}),
    ]
    assert (
        removed.outcome,
        removed.visible,
        removed.reason,
        removed.attempt_number,
        removed.http_status,
    ) == (
        Outcome.APPLIED,
        False,
        "paused",
        1,
        204,
    )
    assert (restored.outcome, restored.visible, restored.is_reflected) == (
        Outcome.APPLIED,
        True,
        True,
    )
    assert world.ledger(leaver)[:4] == ("hidden", "in_sync", 0, False)
    attempts = world.sql(
        "SELECT triggered_by, correlation_id::text FROM hlf_sync.delivery_attempt WHERE mentor_id"
        " = %s",
        leaver,
    )
    assert attempts == [("manual_coordinator_action", removed.correlation_id)]
    assert world.requests(leaver) == []


async def test_what_is_so_already_is_not_called_again(
    world: World, portal: PortalVisibility
) -> None:
    """The ledger knows."""
    mentor = world.mentor("paused")
    await portal.remove_mentor(mentor)
    again = await portal.remove_mentor(mentor)
    assert (again.outcome, again.reason, again.is_reflected, again.correlation_id) == (
        Outcome.UNCHANGED,
        "in_sync",
        True,
        None,
    )
    assert len(world.calls()) == 1


@pytest.mark.parametrize(
    ("status", "visible", "reason"), [("paused", True, "paused"), ("active", False, "active")]
)
async def test_nothing_is_called_against_the_facts_and_nothing_is_silent(
    world: World, portal: PortalVisibility, status: str, visible: bool, reason: str
) -> None:
    """The answer says what the facts say, and so does a line in the log."""
    mentor = world.mentor(status)
    with structlog.testing.capture_logs() as lines:
        update = await portal.update_portal_visibility(mentor, visible)
    assert (update.outcome, update.reason, update.is_reflected) == (
        Outcome.AGAINST_FACTS,
        reason,
        False,
    )
    assert [(line["event"], line["mentor_id"], line["reason"]) for line in lines] == [
        ("against_facts", mentor, reason)
    ]
    assert world.calls() == []
    assert world.ledger(mentor) == ()


@pytest.mark.requirement("R21")
async def test_a_mentor_without_a_contact_is_an_error_within_a_tenth_of_a_second(
    world: World, portal: PortalVisibility
) -> None:
    """Looked up before any call, by an index: among 100,000 mappings as among none."""
    world.sql(
        "INSERT INTO hlf_sync.contact_mapping SELECT gen_random_uuid(), gen_random_uuid() FROM"
        " generate_series(1, 100000)"
    )
    unmapped, stranger = world.mentor("paused", is_mapped=False), str(uuid4())
    loop, longest_s = asyncio.get_running_loop(), 0.0
    with pytest.raises(MentorMappingError):
        await portal.remove_mentor(stranger)  # the statement is prepared now
    for mentor in [unmapped, stranger] * 10:
        began_s = loop.time()
        with pytest.raises(MentorMappingError) as caught:
            await portal.remove_mentor(mentor)
        longest_s = max(longest_s, loop.time() - began_s)
        assert caught.value.mentor_id == mentor
    assert longest_s <= 0.1
    assert world.calls() == []


async def test_facts_outside_the_contract_are_an_error_and_no_call(
    world: World, portal: PortalVisibility
) -> None:
    """The workers write the dead letter."""
    with pytest.raises(ContractError, match="unknown_status"):
        await portal.restore_mentor(world.mentor("vacationing"))
    assert world.calls() == []


async def test_what_is_no_uuid_is_a_value_error(portal: PortalVisibility) -> None:
    """Before anything is asked."""
    with pytest.raises(ValueError, match="UUID"):
        await portal.remove_mentor("nobody")


@pytest.mark.requirement("R28")
@pytest.mark.parametrize(
    ("preset", "code", "state", "attempts"),
    [
        ("unavailable", ErrorCode.SERVER_ERROR, "in_doubt", 1),
        ("hang", ErrorCode.NETWORK_ERROR, "in_doubt", 1),
        ("throttled", ErrorCode.RATE_LIMITED, "pending", 0),
        ("not-found", ErrorCode.NOT_FOUND, "pending", 0),
        ("conflict", ErrorCode.REJECTED, "pending", 0),
    ],
)
async def test_a_call_in_vain_is_a_typed_error_and_the_workers_go_on(
    world: World, portal: PortalVisibility, preset: str, code: ErrorCode, state: str, attempts: int
) -> None:
    """The mentor stays open in the ledger, and is due for a look; a letter is theirs to write."""
    mentor = world.mentor("paused")
    world.dynamics.fault(preset)
    with pytest.raises(DynamicsError) as caught:
        await portal.remove_mentor(mentor)
    assert caught.value.code is code
    assert world.ledger(mentor) == (None, state, attempts, False, True)
    assert world.sql("SELECT count(*) FROM hlf_sync.dynamics_sync_failures") == [(0,)]


async def test_attempts_count_on_and_the_last_one_is_left_to_the_workers(world: World) -> None:
    """As many calls as a worker would make, then none: the workers write the letter, with what was
    counted.
    """
    mentor = world.mentor("paused")
    world.dynamics.fault("unavailable", times=None)
    async with open_portal(world.settings(breaker_failure_threshold=100)) as portal:
        for _ in range(3):
            with pytest.raises(DynamicsError):
                await portal.remove_mentor(mentor)
        left = await portal.remove_mentor(mentor)
    assert (left.outcome, left.reason) == (Outcome.POSTPONED, "exhausted")
    assert len(world.calls()) == 3
    assert world.ledger(mentor)[1:3] == ("in_doubt", 3)
    assert world.requests(mentor) == [("manual_coordinator_action", "library")]


@pytest.mark.requirement("R29")
@pytest.mark.requirement("R30")
async def test_the_circuit_opens_for_all_and_lets_one_probe_through(world: World) -> None:
    """Closed, open after three failures, no call while open, half-open, closed by the probe; each
    is told.
    """
    mentors = [world.mentor("paused") for _ in range(5)]
    async with open_portal(world.settings(breaker_cool_down_s=0.8)) as portal:
        assert (await portal.get_circuit_state()).state is State.CLOSED
        world.dynamics.outage()
        for mentor in mentors[:3]:
            with pytest.raises(DynamicsError):
                await portal.remove_mentor(mentor)
        circuit = await portal.get_circuit_state()
        assert (circuit.state, circuit.failure_count, circuit.last_error_code, circuit.halted) == (
            State.OPEN,
            3,
            "server_error",
            frozenset(),
        )
        assert circuit.calls_again_at_s is not None and circuit.opened_at_s is not None
        assert 0 < circuit.calls_again_at_s - circuit.opened_at_s <= 0.81
        left = await portal.remove_mentor(mentors[3])
        assert (left.outcome, left.reason, len(world.calls())) == (Outcome.POSTPONED, "circuit", 3)
        assert len(world.requests(mentors[3])) == 1
        world.dynamics.end_outage()
        async with asyncio.timeout(5):
            while (await portal.get_circuit_state()).state is State.OPEN:
                await asyncio.sleep(0.02)
        assert (await portal.get_circuit_state()).state is State.HALF_OPEN
        assert (await portal.remove_mentor(mentors[4])).outcome is Outcome.APPLIED
        assert (await portal.get_circuit_state()).state is State.CLOSED


@pytest.mark.parametrize("reason", list(HaltReason))
async def test_a_halt_stops_the_library_too(
    world: World, portal: PortalVisibility, reason: HaltReason
) -> None:
    """The mass change guard's stops removals only."""
    leaver, comer = world.mentor("paused"), world.mentor(is_shown=False)
    world.sql("INSERT INTO hlf_sync.halt (reason) VALUES (%s)", reason.value)
    left = await portal.remove_mentor(leaver)
    other = await portal.restore_mentor(comer)
    assert (left.outcome, left.reason) == (Outcome.POSTPONED, reason.value)
    assert other.outcome is (
        Outcome.APPLIED if reason is HaltReason.MASS_REMOVAL else Outcome.POSTPONED
    )
    assert (await portal.get_circuit_state()).halted == {reason}


@pytest.mark.requirement("R48")
async def test_refused_credentials_halt_the_fleet(world: World) -> None:
    """On the first one, and without any call."""
    async with open_portal(world.settings(dynamics_client_secret="wrong")) as portal:
        with pytest.raises(DynamicsError) as caught:
            await portal.remove_mentor(world.mentor("paused"))
        assert caught.value.code is ErrorCode.AUTH_FAILURE
        assert (await portal.get_circuit_state()).halted == {HaltReason.AUTH}
    assert world.calls() == []


@pytest.mark.requirement("R11")
async def test_the_mass_change_guard_counts_the_library_s_removals(world: World) -> None:
    """With an allowance of one, the second is held back and waits for the operator's word."""
    mentors = [world.mentor(is_shown=False) for _ in range(3)]
    async with open_portal(world.settings(mass_removal_min=1)) as portal:
        for mentor in mentors:
            await portal.restore_mentor(mentor)
        world.sql("UPDATE app.mentor SET status = 'paused'")
        updates = [await portal.remove_mentor(mentor) for mentor in mentors[:2]]
    assert [(update.outcome, update.reason) for update in updates] == [
        (Outcome.APPLIED, "paused"),
        (Outcome.POSTPONED, "mass_removal"),
    ]
    assert world.sql("SELECT mentor_id::text FROM hlf_sync.held_removal") == [(mentors[1],)]


@pytest.mark.requirement("R07")
async def test_a_mentor_that_a_worker_is_calling_for_is_left_to_it(
    world: World, portal: PortalVisibility
) -> None:
    """The lease keeps the library away, as it keeps other workers away."""
    mentor = world.mentor("paused")
    world.sql(
        "INSERT INTO hlf_sync.mentor_ledger (mentor_id, intended, state, generation, lease_owner,"
        " lease_until) VALUES (%s, 'hidden', 'in_doubt', 1, 'worker-1', now() + interval '60 s')",
        mentor,
    )
    update = await portal.remove_mentor(mentor)
    assert (update.outcome, update.reason) == (Outcome.POSTPONED, "busy")
    assert world.calls() == []
    assert len(world.requests(mentor)) == 1


async def test_a_contact_that_is_replaced_at_the_claim_is_left_to_the_workers(
    world: World, portal: PortalVisibility
) -> None:
    """Removing the new contact would leave the former one listed, and nobody would know."""
    mentor, other = world.mentor("active"), world.mentor("active")
    await portal.update_portal_visibility(mentor, visible=True)
    world.sql("UPDATE app.mentor SET status = 'paused' WHERE id = %s", mentor)
    world.sql("DELETE FROM hlf_sync.contact_mapping WHERE mentor_id = %s", other)
    world.sql(
        "CREATE FUNCTION replace() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN"
        f" UPDATE hlf_sync.contact_mapping SET contact_id = '{other}' WHERE mentor_id ="
        " NEW.mentor_id; RETURN NULL; END $$"
    )
    world.sql(
        "CREATE TRIGGER replace AFTER UPDATE OF lease_owner ON hlf_sync.mentor_ledger FOR EACH ROW"
        " EXECUTE FUNCTION replace()"
    )
    update = await portal.remove_mentor(mentor)
    assert (update.outcome, update.reason) == (Outcome.POSTPONED, "changed_meanwhile")
    assert world.calls()[1:] == []
    assert len(world.requests(mentor)) == 1


@pytest.mark.requirement("R07")
async def test_two_callers_at_once_never_overlap(world: World, portal: PortalVisibility) -> None:
    """Two libraries, five callers each: one call, and no two at once."""
    mentor = world.mentor("paused")
    world.dynamics.latency(0.1)
    async with open_portal(world.settings()) as other:
        updates = await asyncio.gather(
            *(one.remove_mentor(mentor) for one in (portal, other) for _ in range(5))
        )
    assert sum(update.outcome is Outcome.APPLIED for update in updates) == 1
    assert [call["overlap"] for call in world.dynamics.journal(kind="api")] == [0]


@pytest.mark.requirement("R07")
async def test_a_caller_that_dies_in_the_middle_of_a_call_is_taken_over_by_the_scheduler(
    world: World,
) -> None:
    """Nothing else stands for the mentor: the claim itself carries the time of the next look."""
    mentor = world.mentor("paused")
    world.dynamics.fault("hang-applied")
    async with open_portal(world.settings(lease_s=2, request_timeout_s=1.5)) as portal:
        caller = asyncio.create_task(portal.remove_mentor(mentor))
        async with asyncio.timeout(5):
            while not world.dynamics.in_flight():
                await asyncio.sleep(0.02)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
    statement = (
        "SELECT intended, state, reevaluate_at = lease_until FROM hlf_sync.mentor_ledger WHERE"
        " mentor_id = %s"
    )
    assert world.sql(statement, mentor) == [("hidden", "in_doubt", True)]


@pytest.mark.requirement("R32")
async def test_in_shadow_nothing_is_called(world: World) -> None:
    """It is left to the workers, which note what is due."""
    async with open_portal(world.settings(delivery="shadow")) as portal:
        update = await portal.remove_mentor(world.mentor("paused"))
    assert (update.outcome, update.reason, world.calls()) == (Outcome.POSTPONED, "shadow", [])


async def test_the_pace_is_a_small_part_of_the_fleet_s_on_top(world: World) -> None:
    """A loop over the library can't push the fleet over Dynamics' limits: what is too fast is left
    to the workers.
    """
    mentors = [world.mentor("paused") for _ in range(3)]
    async with open_portal(world.settings(pace_requests_per_s=2)) as portal:
        updates = [await portal.remove_mentor(mentor) for mentor in mentors[:2]]
    assert [(update.outcome, update.reason) for update in updates] == [
        (Outcome.APPLIED, "paused"),
        (Outcome.POSTPONED, "pace"),
    ]
    assert len(world.calls()) == 1


async def test_without_postgresql_it_says_so_at_once(world: World) -> None:
    """At opening."""
    with pytest.raises(DependencyError, match="PostgreSQL"):
        async with open_portal(
            world.settings(postgres_dsn="host=127.0.0.1 port=1 dbname=x user=x")
        ):
            pass


async def test_the_example_of_the_docs_runs(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands there."""
    page = (Path(__file__).parents[2] / "docs" / "library.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for name, value in world.values.items():
        monkeypatch.setenv(f"HLF_SYNC_{name.upper()}", str(value))
    mentor = world.mentor("paused")
    scope: dict[str, Any] = {"__name__": "example"}
    exec(compile(example, "docs/library.md", "exec"), scope)  # noqa: S102 - our own page
    await scope["take_off"](mentor)
    assert "off the listing" in capsys.readouterr().out
    assert world.dynamics.contacts() == {mentor: False}
