"""A halt is precise, and only its cause lifts it, on a real PostgreSQL: Dynamics that refuses us
although the token is fine, and a privilege that is missing for one contact.
"""

import asyncio

import pytest
from hlf_sync.core.answer import RefusedCredentials, Response
from hlf_sync.core.model import HaltReason, LetterKind
from hlf_sync.pipeline.gate import Gate

from tests.fakes.worker import Options
from tests.rooms.test_pipeline import World, until, world

__all__ = ["world"]

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R48")]

_DENIED = Response(403, 0x80040220)
_NOT_WE = Response(403, 0x80072560)


def _halts(world: World) -> list[str]:
    return [reason for (reason,) in world.execute("SELECT reason FROM hlf_sync.halt")]


async def test_a_refusal_by_dynamics_is_lifted_by_one_request_that_it_accepts(
    world: World,
) -> None:
    """Everybody is refused: one call each `_AUTH_RETRY_S`, and no letter; as soon as one is
    accepted, all go on.
    """
    mentors = [world.mentor("paused") for _ in range(6)]
    world.dynamics.default = _NOT_WE
    benches = [world.worker(Options(auth_retry_s=0.4), f"worker-{n}") for n in range(2)]
    for number, mentor_id in enumerate(mentors):
        benches[number % 2].change(mentor_id)
    await until(lambda: _halts(world) == ["auth"])
    loop = asyncio.get_running_loop()
    await until(lambda: not any(world.dynamics.in_flight.values()))
    began_s, before = loop.time(), len(world.dynamics.calls)
    await until(lambda: len(world.dynamics.calls) >= before + 4, 30)
    # The claims are 0.4 s apart; how long after its claim a call begins varies.
    assert loop.time() - began_s >= 3 * 0.4 - 0.3
    assert _halts(world) == ["auth"]
    world.dynamics.default = Response(204)
    await until(lambda: all(bench.is_done for bench in benches), 30)
    assert (_halts(world), world.dynamics.shown) == ([], dict.fromkeys(mentors, False))
    assert not any(bench.letters.letters for bench in benches)


async def test_a_privilege_that_is_missing_for_one_contact_ends_as_its_letter(
    world: World,
) -> None:
    """For ever 403: the fleet stops for the moment of one call for another mentor, once."""
    bad = world.mentor("paused")
    world.dynamics.script[bad] = [_DENIED] * 100
    bench = world.worker(Options(auth_retry_s=0.4))
    bench.change(bad)
    await until(lambda: _halts(world) == ["auth"])
    others = [world.mentor("paused") for _ in range(10)]
    for mentor_id in others:
        bench.change(mentor_id)
    await until(lambda: bench.is_done, 30)
    assert world.dynamics.shown == dict.fromkeys(others, False)
    assert [(x.mentor_id, x.kind, x.error_code) for x in bench.letters.letters] == [
        (bad, LetterKind.REJECTED, "auth_failure")
    ]
    assert _halts(world) == []


async def test_one_contact_alone_is_the_probing_request_in_its_time(world: World) -> None:
    """Nobody else waits: it is asked for once each `_AUTH_RETRY_S`, and makes no letter: who could
    say whether the fleet is refused?
    """
    bad = world.mentor("paused")
    world.dynamics.script[bad] = [_DENIED] * 3
    bench = world.worker(Options(auth_retry_s=0.3))
    bench.change(bad)
    await until(lambda: bench.is_done, 30)
    assert (len(world.dynamics.calls), bench.letters.letters) == (4, [])
    assert _halts(world) == []


async def test_a_token_lifts_no_halt_that_dynamics_itself_brought_about(world: World) -> None:
    """It turns one that a token would lift into its own, too."""
    bench = world.worker(Options(auth_retry_s=30))
    gate = bench.worker.stages.gate
    await until(lambda: gate.fleet is not None)
    await gate.halt(HaltReason.AUTH, "token")
    assert not _needs_probe(gate)
    await gate.halt(HaltReason.AUTH, "dynamics", needs_probe=True)
    await gate.halt(HaltReason.AUTH, "token")
    assert _needs_probe(gate)
    assert world.execute("SELECT detail FROM hlf_sync.halt") == [("dynamics",)]


async def test_refused_credentials_at_a_call_are_the_token_services_word(world: World) -> None:
    """A new token lifts that halt, no probing request is made of it."""
    someone, bench = world.mentor("paused"), world.worker()
    world.dynamics.script[someone] = [RefusedCredentials(30.0)]
    bench.change(someone)
    await until(lambda: _halts(world) == ["auth"])
    await until(lambda: bench.worker.stages.gate.is_halted(HaltReason.AUTH))
    assert not bench.worker.stages.gate.auth_needs_probe


async def test_an_accepted_token_lifts_the_token_services_halt_only(world: World) -> None:
    """And tells the others that somebody's credentials are accepted."""
    bench = world.worker()
    gate = bench.worker.stages.gate
    await until(lambda: gate.fleet is not None)
    await gate.halt(HaltReason.AUTH, "token")
    since_s = gate.auth_since_s
    assert since_s is not None
    await gate.accepted()
    assert (_halts(world), gate.was_accepted_since(since_s)) == ([], True)
    await gate.halt(HaltReason.AUTH, "dynamics", needs_probe=True)
    await gate.accepted()
    assert _halts(world) == ["auth"]
    await gate.proved()
    assert (_halts(world), gate.was_proved_since(since_s)) == ([], True)


def _needs_probe(gate: Gate) -> bool:
    return gate.auth_needs_probe
