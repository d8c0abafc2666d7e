"""From the storm to rest: undo every fault, then wait until nothing is under way. Called by
wave.py.

Nobody is asked for while resting: a request would make a worker look again, and hide what it had
overlooked.
"""

import time
from collections.abc import Callable, Iterator

from hlf_sync_sandbox.stack import PARTS

from tests.chaos.detour import await_streaming
from tests.chaos.faults import World
from tests.fixtures.worker_process import Town

_WORKERS = 2
# A killed worker's partitions come to another after 6 s, its mentors after lease and late effect;
# Kafka and Connect take their time to come back.
_PATIENCE_S = 45.0
_LOOK_S = 0.2

_BUSY = """
WITH ours AS (SELECT unnest(%s::uuid[]) AS mentor_id)
SELECT 'a certificate is about to end' WHERE EXISTS (
    SELECT FROM app.certification JOIN ours USING (mentor_id) WHERE expires_at BETWEEN now() - interval '3 s' AND now() + interval '5 s')
UNION ALL
SELECT format('%%s is %%s, leased by %%s, to be looked at %%s', mentor_id, state, lease_owner, reevaluate_at)
  FROM hlf_sync.mentor_ledger JOIN ours USING (mentor_id)
 WHERE state IN ('pending', 'in_doubt') OR lease_owner IS NOT NULL OR reevaluate_at < now() + interval '2 s'
"""


def heal(world: World, town: Town) -> None:
    """Undo everything: from here on the system has to come right by itself."""
    for proxy in (world.to_dynamics, world.to_source, world.to_connect, world.to_registry):
        proxy.heal()
    for part in PARTS:
        if part not in world.stack.pids:
            world.stack.restart(part)
    world.dynamics.reset()
    world.dynamics.unlimited()
    world.fleet.settle(_WORKERS)
    while len(world.fleet.alive) > _WORKERS + 1:
        world.fleet.leave(world.fleet.alive[-1])
    await_streaming(town.side)


def rest(world: World, town: Town, say: Callable[[str], None]) -> list[str]:
    """Wait until everything committed is handled, no certificate is about to end, and nobody is in
    doubt; what was not so in the end.

    `say` is told what it is waiting for.
    """
    end_s = time.monotonic() + _PATIENCE_S
    try:
        town.side.settle()
    except AssertionError as error:
        return [f"changes do not come into their topic: {error}"]
    while busy := list(_busy(world, town)):
        say(busy[0])
        world.fleet.mind()
        if time.monotonic() > end_s:
            return busy
        time.sleep(_LOOK_S)
    return []


def _busy(world: World, town: Town) -> Iterator[str]:
    rows = world.rows(_BUSY, [*world.people.mentors, *world.people.steady])
    yield from (row[0] for row in rows)
    if not rows and (lag := town.lag()):
        yield f"{lag} records without an outcome"


def ask_for_letters(world: World) -> None:
    """What Dynamics refused is asked for once more now that it serves: a letter is a holding place,
    no end. Nobody else is asked for.
    """
    world.sql(
        "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, dead_letter_id) SELECT"
        " mentor_id, 'dead_letter_replay', dead_letter_id FROM hlf_sync.mentor_ledger WHERE state ="
        " 'dead_lettered' AND mentor_id = ANY (%s::uuid[])",
        [*world.people.mentors, *world.people.steady],
    )
