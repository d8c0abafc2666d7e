"""Whatever PostgreSQL can hold in the view, and whatever the application makes of its columns: it
ends no worker and no tool, and holds up that one mentor at most.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from hlf_sync.config.settings import Settings
from hlf_sync.core.decide import Rules, decide
from hlf_sync.core.model import Command, LetterKind, MentorId, Operation, Refuse, Visibility
from hlf_sync.operate import held_removals, is_handled
from hlf_sync.postgres.facts import FactsView, read_now
from hlf_sync.replay.judgement import Letter
from hlf_sync.replay.standings import Standings
from hlf_sync.why.page import show
from hlf_sync.why.story import tell
from psycopg.rows import dict_row
from rich.console import Console

from tests.fakes.worker import Options
from tests.rooms.test_pipeline import World, until, world

__all__ = ["world"]

pytestmark = pytest.mark.postgres

VALID = [
    "294276-12-31 23:59:59.999999+00",
    "9999-12-31 23:59:59-05",
    "20260-01-01 00:00+00",
    "12000-02-29 12:00+00",
    "infinity",
]
LAPSED = ["-infinity", "4713-01-01 00:00+00 BC", "0044-03-15 12:00+00 BC", "0001-01-01 00:00+00"]


def _with_certificate(world: World, status: str, expires: str) -> str:
    someone = world.mentor(status, certificate=None)
    world.execute(
        "INSERT INTO app.certification VALUES (gen_random_uuid(), %s, 'valid', %s::timestamptz)",
        someone,
        expires,
    )
    return someone


@pytest.mark.requirement("R04")
@pytest.mark.requirement("R68")
@pytest.mark.parametrize("expires", VALID + LAPSED)
@pytest.mark.behaviour
async def test_any_date_of_postgresqls_is_a_certificates_end(world: World, expires: str) -> None:
    """Far ones and infinity are valid, -infinity and those before Christ have lapsed; those beside
    them are delivered, and nothing ends.
    """
    shown = {_with_certificate(world, "active", expires): expires in VALID}
    shown[_with_certificate(world, "paused", expires)] = False
    shown[world.mentor("active")] = True
    bench = world.worker()
    for mentor_id in shown:
        bench.change(mentor_id)
    await until(lambda: bench.is_done)
    assert world.dynamics.shown == shown
    assert bench.letters.letters == []


@pytest.mark.requirement("R68")
@pytest.mark.parametrize("expires", VALID + LAPSED)
async def test_the_tools_tell_any_date(world: World, expires: str) -> None:
    """`why`, `force`'s and `sweep`'s look, and the judging of letters."""
    someone = MentorId(_with_certificate(world, "active", expires))
    story = await tell(Settings(), world.pool, someone, None, lambda _done, _total: None)
    show(Console(quiet=True), story, most=None)
    assert story.facts is not None
    assert story.facts["certificate_is_valid"] is (expires in VALID)
    assert isinstance(story.facts["certificate_expires_at"], str)
    with psycopg.connect(world.dsn, row_factory=dict_row, autocommit=True) as connection:
        assert not is_handled(connection, someone, None, Rules())
    letter = Letter(0, 1, f"{someone}:1", LetterKind.EXHAUSTED, "x", 1, someone, 1)
    assert await Standings(world.pool, Rules()).judge([letter])


@contextmanager
def _view(world: World, column: str, expression: str) -> Iterator[None]:
    """The view with one column computed in another way."""
    ((view,),) = world.execute("SELECT pg_get_viewdef('hlf_sync.mentor_facts'::regclass)")
    view = view.rstrip("; ")
    columns = ", ".join(
        f"{expression} AS {name}" if name == column else name
        for name in (
            "mentor_id",
            "organization",
            "status",
            "certification_id",
            "certificate_expires_at",
            "certificate_status",
        )
    )
    world.execute(
        f"CREATE OR REPLACE VIEW hlf_sync.mentor_facts AS SELECT {columns} FROM ({view}) v"
    )
    try:
        yield
    finally:
        world.execute(f"CREATE OR REPLACE VIEW hlf_sync.mentor_facts AS {view}")


_FAILS = {
    "a cast": "status::int::text",
    "a division": "(1 / (length(status) - 6))::text",
    "a sub-select with two rows": "(SELECT status FROM generate_series(1, length(status)))",
}


@pytest.mark.requirement("R68")
@pytest.mark.parametrize("expression", _FAILS.values(), ids=list(_FAILS))
async def test_a_mentor_for_whom_the_view_goes_on_failing_becomes_a_letter(
    world: World, expression: str
) -> None:
    """After a while, alone, and found among many; the mended view heals it."""
    broken, others = world.mentor("paused"), [world.mentor("paused") for _ in range(7)]
    wrong = f"CASE WHEN mentor_id = '{broken}' THEN {expression} ELSE status END"
    with _view(world, "status", wrong):
        bench = world.worker(Options(view_patience_s=0.1))
        for mentor_id in (*others[:3], broken, *others[3:]):
            bench.change(mentor_id)
        await until(lambda: bench.is_done)
        assert world.dynamics.shown == dict.fromkeys(others, False)
        assert [(letter.mentor_id, letter.error_code) for letter in bench.letters.letters] == [
            (broken, "facts_unreadable")
        ]
        assert not bench.worker.stages.dependencies.down
    bench.change(broken)
    await until(lambda: bench.is_done)
    assert world.dynamics.shown[broken] is False


@pytest.mark.requirement("R68")
async def test_a_view_that_fails_in_the_second_look_holds_up_that_mentor_only(
    world: World,
) -> None:
    """It worked in the first look, and fails under the claim."""
    broken, others = world.mentor("paused"), [world.mentor("paused") for _ in range(4)]
    bench = world.worker()
    claim = bench.worker.stages.ledger.claim
    wrong = f"CASE WHEN mentor_id = '{broken}' THEN status::int::text ELSE status END"
    ((view,),) = world.execute("SELECT pg_get_viewdef('hlf_sync.mentor_facts'::regclass)")
    with _view(world, "status", "status"):
        broke = False

        async def claim_then_break(evaluations: Any) -> Any:
            nonlocal broke
            claimed = await claim(evaluations)
            if not broke:
                broke = True
                world.execute(
                    f"CREATE OR REPLACE VIEW hlf_sync.mentor_facts AS {_wrapped(view, wrong)}"
                )
            return claimed

        bench.worker.stages.ledger.claim = claim_then_break  # type: ignore[method-assign]
        for mentor_id in (*others[:2], broken, *others[2:]):
            bench.change(mentor_id)
        await until(lambda: world.dynamics.shown == dict.fromkeys(others, False))
        assert not bench.worker.stages.dependencies.down
        assert not bench.is_done


def _wrapped(view: str, status: str) -> str:
    return (
        f"SELECT mentor_id, organization, {status} AS status, certification_id,"
        f" certificate_expires_at, certificate_status FROM ({view.rstrip('; ')}) v"
    )


async def test_a_view_that_fails_is_a_letter_and_never_a_removal_for_every_tool(
    world: World,
) -> None:
    """Whoever reads the facts: many at once, by the pool or by a connection of its own."""
    broken, others = world.mentor("active"), [world.mentor("active") for _ in range(4)]
    ids = [MentorId(name) for name in (*others[:2], broken, *others[2:])]
    wrong = f"CASE WHEN mentor_id = '{broken}' THEN status::int::text ELSE status END"
    world.execute("INSERT INTO hlf_sync.held_removal (mentor_id) VALUES (%s)", broken)
    with _view(world, "status", wrong):
        readings = [await FactsView(world.pool).read(ids)]
        with psycopg.connect(world.dsn, row_factory=dict_row) as connection:
            readings.append(read_now(connection, ids))
            assert held_removals(connection, Rules()) == []
            connection.execute("SELECT 1")
    for reading in readings:
        assert list(reading.mentors) == ids
        decisions = {
            name: decide(
                known.facts,
                known.ledger._replace(applied=Visibility.VISIBLE),
                reading.now_s,
                Rules(),
            )
            for name, known in reading.mentors.items()
        }
        assert decisions.pop(MentorId(broken)) == Refuse("facts_unreadable")
        assert not any(
            isinstance(found, Command) and found.operation is Operation.REMOVE
            for found in decisions.values()
        )


@pytest.mark.requirement("R68")
@pytest.mark.parametrize(
    "kind", ["varchar(40)", "char(12)", "app.status_word", "app.status_domain"]
)
async def test_a_column_that_changes_its_type_ends_no_worker(world: World, kind: str) -> None:
    """And back: the view is made anew, under a statement that was prepared for the old type."""
    world.execute("CREATE TYPE app.status_word AS ENUM ('active', 'paused', 'reinstated')")
    world.execute("CREATE DOMAIN app.status_domain AS text CHECK (length(VALUE) < 40)")
    bench = world.worker()
    someone = world.mentor("paused")
    ((view,),) = world.execute("SELECT pg_get_viewdef('hlf_sync.mentor_facts'::regclass)")
    for word, shown in ((kind, False), ("text", True), (kind, False)):
        for _ in range(6):  # the statement is prepared by then
            await FactsView(world.pool).read([MentorId(someone)])
        with psycopg.connect(world.dsn) as connection:
            connection.execute("DROP VIEW hlf_sync.mentor_facts CASCADE")
            columns = view.replace('"left"(m.status, 200)', f"m.status::{word}")
            assert columns != view
            connection.execute(f"CREATE VIEW hlf_sync.mentor_facts AS {columns}".encode())
            connection.execute("GRANT SELECT ON hlf_sync.mentor_facts TO hlf_sync")
        world.status(someone, "reinstated" if shown else "paused")
        bench.change(someone)
        await until(lambda: bench.is_done)
        assert world.dynamics.shown == {someone: shown}


@pytest.mark.behaviour
async def test_a_statement_whose_plan_is_outdated_is_prepared_anew(world: World) -> None:
    """In a transaction the connection is given up, and the pool opens another one."""
    world.execute("CREATE TABLE app.odd (value text); INSERT INTO app.odd VALUES ('1')")
    world.execute("GRANT SELECT ON app.odd TO hlf_sync; GRANT USAGE ON SCHEMA app TO hlf_sync")

    async def ask() -> list[Any]:
        async with world.pool.connection() as connection:
            return await (await connection.execute("SELECT * FROM app.odd")).fetchall()

    async def ask_in_transaction() -> list[Any]:
        async with world.pool.connection() as connection, connection.transaction():
            await connection.execute("SELECT 1")
            return await (await connection.execute("SELECT * FROM app.odd")).fetchall()

    for _ in range(3):
        assert await asyncio.gather(*(ask() for _ in range(8))) == [[("1",)]] * 8
    world.execute("ALTER TABLE app.odd ALTER value TYPE integer USING value::integer")
    assert await asyncio.gather(*(ask() for _ in range(8))) == [[(1,)]] * 8
    world.execute("ALTER TABLE app.odd ALTER value TYPE text")
    failures = 0
    for _ in range(10):
        try:
            assert await ask_in_transaction() == [("1",)]
        except psycopg.OperationalError:
            failures += 1
    assert failures <= 8
    assert await ask_in_transaction() == [("1",)]
