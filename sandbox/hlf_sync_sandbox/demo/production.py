"""The demo from the first part that starts to the last line: stack, snapshot, worker, story,
verdict. Called by `cli`.

Whoever calls it stops the stack; the worker is stopped here.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from hlf_sync_sandbox.demo.application import Application
from hlf_sync_sandbox.demo.coordinator import Coordinator
from hlf_sync_sandbox.demo.performance import play, populate
from hlf_sync_sandbox.demo.sight import Watch
from hlf_sync_sandbox.demo.view import View
from hlf_sync_sandbox.demo.worker import HURRIED, Worker
from hlf_sync_sandbox.demo.world import World
from hlf_sync_sandbox.dynamics.control import DynamicsControl
from hlf_sync_sandbox.stack import Sandbox


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
        populate(application, dynamics, view)
        sandbox.up()
        worker = stack.enter_context(_running(sandbox, view))
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
            return play(World(application, dynamics, worker, view, coordinator), watch)


@contextmanager
def _running(sandbox: Sandbox, view: View) -> Iterator[Worker]:
    worker = Worker(sandbox.layout.env_file, sandbox.layout.root)
    try:
        yield worker
    finally:
        view.say("the worker drains and stops …", "dim")
        worker.stop()
