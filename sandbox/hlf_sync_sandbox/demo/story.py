"""The story's quiet half: one mentor at a time, each scene one change and what becomes of it.
Called by `production`.
"""

from hlf_sync_sandbox.demo.cast import (
    ELSEWHERE,
    LAPSES,
    LEAVES,
    RENEWS,
    RETURNS,
    RETURNS_BARE,
    UNMAPPED,
)
from hlf_sync_sandbox.demo.world import World

_LAPSE_S = 4.0
# A certificate's end is found by a look once a second (requirement R06 allows a minute).
_SETTLE_S = 60.0


def tell(world: World) -> None:
    """All of it, in order."""
    for scene in (_leave, _lapse, _renew, _return, _return_bare, _stay_elsewhere, _join_unmapped):
        scene(world)


def _leave(world: World) -> None:
    world.view.scene("a mentor goes on leave: status becomes paused")
    world.application.set_status(LEAVES, "paused")
    world.until_shown(LEAVES, is_shown=False)


def _lapse(world: World) -> None:
    world.view.scene(
        f"a certificate lapses: it ends in {_LAPSE_S:.0f} s, and then no row changes: the scheduler"
        " sees it"
    )
    world.application.end_certificate(LAPSES, _LAPSE_S)
    world.until_shown(LAPSES, is_shown=False, deadline_s=_SETTLE_S)


def _renew(world: World) -> None:
    world.view.scene("a renewal: a mentor whose certificate had ended gets a new one")
    world.application.certify(RENEWS)
    world.until_shown(RENEWS, is_shown=True)


def _return(world: World) -> None:
    world.view.scene("reinstated with a valid certificate")
    world.application.set_status(RETURNS, "reinstated")
    world.until_shown(RETURNS, is_shown=True)


def _return_bare(world: World) -> None:
    world.view.scene("reinstated without a certificate: stays hidden, nobody is called")
    before, last = world.worker.count("changes_total", "no_call"), world.dynamics.last_seq()
    world.application.set_status(RETURNS_BARE, "reinstated")
    world.until(
        lambda: world.worker.count("changes_total", "no_call") > before,
        "the change is judged to need no call",
    )
    _say_calls(world, RETURNS_BARE.contact_id, last)


def _stay_elsewhere(world: World) -> None:
    world.view.scene(
        "another organisation's mentor is paused and loses the certificate: not ours, nobody is"
        " called"
    )
    before, last = world.worker.count("changes_total", "out_of_scope"), world.dynamics.last_seq()
    world.application.set_status(ELSEWHERE, "paused")
    world.application.end_certificate(ELSEWHERE, -1)
    world.until(
        lambda: world.worker.count("changes_total", "out_of_scope") > before,
        "the change is judged out of scope",
    )
    _say_calls(world, ELSEWHERE.contact_id, last)


def _join_unmapped(world: World) -> None:
    world.view.scene(
        "a new mentor without a mapping: a dead letter, no call; then the mapping is added"
    )
    world.application.add([UNMAPPED], is_mapped=False)
    world.until(
        lambda: world.application.open_letter(UNMAPPED) is not None,
        "the dead letter of the mentor without a mapping",
    )
    world.view.say(f"dead letter: {world.application.open_letter(UNMAPPED)}", "yellow")
    words = world.coordinator.words(UNMAPPED.id, "dead_lettered")
    world.view.say(f"a coordinator reads: {words}", "yellow")
    world.application.map([UNMAPPED])
    world.until_shown(UNMAPPED, is_shown=True)
    world.until(
        lambda: world.application.open_letter(UNMAPPED) is None, "the dead letter is resolved"
    )
    world.view.say("the dead letter is resolved", "green")


def _say_calls(world: World, contact_id: str, since: int) -> None:
    calls = sum(
        entry["contact_id"] == contact_id for entry in world.dynamics.journal(since, kind="api")
    )
    world.view.say(f"handled; calls for this mentor: {calls}", "red" if calls else "green")
