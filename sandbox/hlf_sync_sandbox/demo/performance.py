"""What is played on a running stack: the population, the story, the storms and the verdict. Called by
`production` on the demo's own sandbox, and by `compose` on containers.
"""

from contextlib import ExitStack

from hlf_sync_sandbox.demo import storms, story, verdict
from hlf_sync_sandbox.demo.application import Application
from hlf_sync_sandbox.demo.cast import OURS, UNMAPPED, population
from hlf_sync_sandbox.demo.coordinator import Coordinator
from hlf_sync_sandbox.demo.sight import Watch
from hlf_sync_sandbox.demo.view import View
from hlf_sync_sandbox.demo.workers import Workers
from hlf_sync_sandbox.demo.world import World
from hlf_sync_sandbox.dynamics.control import DynamicsControl

_SETTLE_S = 90.0


def perform_on(
    dsn: str, dynamics: DynamicsControl, workers: Workers, view: View, coordinator: Coordinator
) -> bool:
    """Play it on a stack that somebody else has started, with nobody in its tables."""
    with ExitStack() as stack:
        application = stack.enter_context(Application(dsn))
        populate(application, dynamics, view)
        watch = stack.enter_context(Watch(dsn, workers, dynamics))
        with view.live(lambda: watch.sight):
            return play(World(application, dynamics, workers, view, coordinator), watch)


def populate(application: Application, dynamics: DynamicsControl, view: View) -> None:
    """Mentors, mappings and contacts, before anybody works."""
    everybody = population()
    ours = [mentor for mentor in everybody if mentor.organization == OURS]
    application.add(everybody)
    # Of ours some are shown and some never set, so that the first delivery has something to put
    # right. The others' must stay as they are.
    dynamics.put_contacts(
        {
            mentor.contact_id: True if mentor not in ours or mentor.number % 4 == 0 else None
            for mentor in everybody
        }
    )
    dynamics.put_contacts({UNMAPPED.contact_id: None})
    view.say(
        f"{len(everybody):,} mentors are there and mapped: {len(ours)} of HLF,"
        f" {len(everybody) - len(ours)} of another organisation"
    )


def play(world: World, watch: Watch) -> bool:
    """From the first delivery to the verdict; whether every mentor was right at the end."""
    view = world.view
    view.scene("the worker starts on Debezium's snapshot: every mentor's first delivery")
    took_s = world.until_settled(_SETTLE_S)
    view.say(
        f"{len(world.dynamics.journal(kind='api')):,} calls, all mentors right after"
        f" {took_s:.1f} s",
        "green",
    )
    story.tell(world)
    since = world.dynamics.last_seq()
    samples = storms.stream(world)
    fresh = verdict.freshness_ms(samples, world.dynamics.journal(since, kind="api"))
    collapse = storms.burst(world)
    storms.outage(world)
    view.scene("the end: every mentor's CRM value against the facts")
    view.roll(watch.sight)
    journal = world.dynamics.journal(kind="api")
    found = verdict.compare(world.application.expected(), world.dynamics.contacts(), journal)
    totals = {
        "changes": world.worker.count("changes_total"),
        "evaluations": world.worker.count("evaluations_total"),
        "calls": len(journal),
    }
    for line in verdict.lines(found, fresh, collapse, totals):
        view.say(line, "bold")
    for mentor_id in (*found.wrong, *found.touched)[:20]:
        view.say(f"wrong: {mentor_id}", "red")
    view.say(
        "all equal" if found.is_equal else "NOT EQUAL",
        "bold green" if found.is_equal else "bold red",
    )
    return found.is_equal
