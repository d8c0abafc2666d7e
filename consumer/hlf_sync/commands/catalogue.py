"""Which commands there are: name, panel, the module that has it, and its first sentence. Read by the
command line, so that `hlf-sync --help` imports none of them, and a command only its own module.

A test compares each row with the command itself.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.main import get_group

from hlf_sync.commands import exit_codes

WORK, LOOK, SET_UP, STEER, TRY_IT = "Work", "Look", "Set up", "Steer", "Try it"


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """One command. `module` is below `hlf_sync.commands`, and its `mount` puts it into a Typer."""

    name: str
    panel: str
    module: str
    summary: str


ROWS = (
    CatalogueRow(
        "run", WORK, "run", "Work the change stream until told to stop (SIGTERM, Ctrl-C)."
    ),
    CatalogueRow(
        "web",
        WORK,
        "web",
        "Serve the coordinators: which visibility updates are open, and 'Sync now'"
        " (docs/coordinators.md).",
    ),
    CatalogueRow(
        "status", LOOK, "status", "Show what a running worker says of itself (its /status page)."
    ),
    CatalogueRow(
        "doctor",
        LOOK,
        "doctor",
        "Check every part end to end and say what to do: one line per check, ok, warn, fail or"
        " skipped.",
    ),
    CatalogueRow(
        "top",
        LOOK,
        "top",
        "Watch the workers: who may be listed wrongly now, why, and what to do; then circuit, lag,"
        " queue, pace, stages, errors.",
    ),
    CatalogueRow(
        "why",
        LOOK,
        "why",
        "Tell one mentor's story: changes, decisions, attempts, dead letters, requests, and what"
        " would be decided now and why.",
    ),
    CatalogueRow(
        "reconcile",
        LOOK,
        "reconcile",
        "Compare the ledger with what would be decided now, for every mentor in the view and in the"
        " ledger, or for a selection of them.",
    ),
    CatalogueRow(
        "history",
        LOOK,
        "pause",
        "What stood still: halts, the circuit, pauses, break-glass; from when to when, by whom,"
        " why.",
    ),
    CatalogueRow(
        "pending",
        LOOK,
        "pending",
        "Every mentor that is shown wrongly, waits, is in doubt, held back, paused or"
        " dead-lettered: since when, why, and when it is tried next. Grouped by cause, the oldest"
        " first.",
    ),
    CatalogueRow(
        "rehearse",
        LOOK,
        "rehearse",
        "Decide for every mentor by the rules of now and by those of FILE, and show who would"
        " change.",
    ),
    CatalogueRow(
        "migrate",
        SET_UP,
        "source",
        "Create or update hlf-sync's own tables (schema hlf_sync).",
    ),
    CatalogueRow("topics", SET_UP, "source", "The topics of connectors/topics.json."),
    CatalogueRow("connector", SET_UP, "source", "The Debezium connector that streams the changes."),
    CatalogueRow(
        "force",
        STEER,
        "force",
        "Ask for a look at one mentor, which delivers what is due; and say how it stands, in words.",
    ),
    CatalogueRow(
        "sweep",
        STEER,
        "force",
        "Compare every mentor in the view and in the ledger, and have a worker look at those of"
        " whom something is due or open (the nightly batch; safe to run many times at once).",
    ),
    CatalogueRow("resume", STEER, "resume", "Go on after a halt, once its cause is repaired."),
    CatalogueRow(
        "confirm-removals",
        STEER,
        "resume",
        "Let through the removals that the mass change guard holds back: shows how many of the"
        " listing, why and whom, asks, and confirms exactly those.",
    ),
    CatalogueRow(
        "distrust",
        STEER,
        "distrust",
        "Put every mentor in doubt: each is delivered once more, at the pace.",
    ),
    CatalogueRow(
        "nightly",
        STEER,
        "nightly",
        "Do the nightly work of one date: sweep, credentials, reconcile, reminders, roster,"
        " pruning, verify.",
    ),
    CatalogueRow(
        "remind",
        STEER,
        "nightly",
        "Write the reminders that are due before certificates end (the nightly work does it too).",
    ),
    CatalogueRow(
        "pause",
        STEER,
        "pause",
        "Make no call until `unpause`: for one mentor ('not before HLF has called back'), or for"
        " all.",
    ),
    CatalogueRow(
        "unpause",
        STEER,
        "pause",
        "End a pause, and ask the workers for every mentor that has waited because of it.",
    ),
    CatalogueRow(
        "replay",
        STEER,
        "replay",
        "Drain the dead letters: `plan` looks and changes nothing, `apply` asks the workers for what is"
        " due.",
    ),
    CatalogueRow(
        "break-glass",
        STEER,
        "break_glass",
        "When the rest is down: hide and show mentors in Dynamics from a roster file, with"
        " credentials that are given now.",
    ),
)

EXTRAS = {
    "demo": "See it work: the real stack, 1,000 mentors, a story of two minutes.",
    "sandbox": (
        "The real stack on one machine, without Docker: PostgreSQL, Kafka, Connect with Debezium, a"
        " schema registry and an emulated Dynamics."
    ),
}
"""First sentences of what other distributions may add (the sandbox, absent in production)."""


def blank() -> typer.Typer:
    """A Typer to mount commands in."""
    return typer.Typer(rich_markup_mode="markdown", pretty_exceptions_enable=False)


def load(row: CatalogueRow) -> Any:
    """The command itself: a Typer command, or a group of them."""
    app = blank()
    import_module(f"hlf_sync.commands.{row.module}").mount(app)
    exit_codes.tell(app)
    return get_group(app).commands[row.name]
