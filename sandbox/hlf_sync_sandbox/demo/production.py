"""The demo from the first part that starts to the last line: stack, snapshot, worker, story,
verdict. Called by `cli`.

Whoever calls it stops the stack; the worker is stopped here.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from hlf_sync_sandbox.demo import storms, story, verdict
from hlf_sync_sandbox.demo.application import Application
from hlf_sync_sandbox.demo.cast import OURS, UNMAPPED, population
from hlf_sync_sandbox.demo.coordinator import Coordinator
from hlf_sync_sandbox.demo.sight import Watch
from hlf_sync_sandbox.demo.view import View
from hlf_sync_sandbox.demo.worker import HURRIED, Worker
from hlf_sync_sandbox.demo.world import World
from hlf_sync_sandbox.dynamics.control import DynamicsControl
from hlf_sync_sandbox.stack import Sandbox

_SETTLE_S = 90.0


def perform(sandbox: Sandbox, view: View) -> bool:
    """Play it all; whether every mentor was right at the end."""
    view.scene(
        "the stack comes up: PostgreSQL, Kafka, Connect with Debezium, a schema registry, an"
        " emulated Dynamics"
    )
    sandbox.up(("postgres", "dynamics"))
    dsn = sandbox.env["SANDBOX_POSTGRES_ADMIN_DSN"]
    with ExitStack() as stack:
        application = stack.enter_context(Application(dsn))
        dynamics = DynamicsControl(sandbox.layout.root)
        _populate(application, dynamics, view)
        sandbox.up()
        worker = stack.enter_context(_running(sandbox))
        view.say(
            "faster than the defaults, for the demo: "
            + ", ".join(
                f"{name.removeprefix('HLF_SYNC')}={value}" for name, value in HURRIED.items()
            ),
            "dim",
        )
        coordinator = Coordinator(sandbox.web_link or "")
        view.say(f"a coordinator's page, signed in: {coordinator.link}", "dim")
        watch = stack.enter_context(Watch(dsn, worker, dynamics))
        with view.live(lambda: watch.sight):
            return _play(World(application, dynamics, worker, view, coordinator), watch)


def _populate(application: Application, dynamics: DynamicsControl, view: View) -> None:
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


@contextmanager
def _running(sandbox: Sandbox) -> Iterator[Worker]:
    worker = Worker(sandbox.layout.env_file, sandbox.layout.root)
    try:
        yield worker
    finally:
        worker.stop()


def _play(world: World, watch: Watch) -> bool:
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
