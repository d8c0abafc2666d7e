"""Which commands there are: name, panel, the module that has it, and its first sentence. Read by the
command line, so that `hlf-sync --help` imports none of them, and a command only its own module.

A test compares each row with the command itself.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.main import get_group

WORK, LOOK, SET_UP, STEER, TRY_IT = "Work", "Look", "Set up", "Steer", "Try it"


@dataclass(frozen=True, slots=True)
class Row:
    """One command. `module` is below `hlf_sync.commands`, and its `mount` puts it into a Typer."""

    name: str
    panel: str
    module: str
    summary: str


ROWS = (
    Row("run", WORK, "run", "Work the change stream until told to stop (SIGTERM, Ctrl-C)."),
    Row(
        "web",
        WORK,
        "web",
        "Serve the coordinators: which visibility updates are open, and 'Sync now'"
        " (docs/coordinators.md).",
    ),
    Row("status", LOOK, "status", "Show what a running worker says of itself (its /status page)."),
    Row(
        "doctor",
        LOOK,
        "doctor",
        "Check every part end to end and say what to do: one line per check, ok, warn, fail or"
        " skipped.",
    ),
    Row(
        "top",
        LOOK,
        "top",
        "Watch the workers: who may be listed wrongly now, why, and what to do; then circuit, lag,"
        " queue, pace, stages, errors.",
    ),
    Row(
        "why",
        LOOK,
        "why",
        "Tell one mentor's story: changes, decisions, attempts, dead letters, requests, and what"
        " would be decided now and why.",
    ),
    Row(
        "reconcile",
        LOOK,
        "reconcile",
        "Compare the ledger with what would be decided now, for every mentor in the view and in the"
        " ledger, or for a selection of them.",
    ),
    Row(
        "history",
        LOOK,
        "steering",
        "What stood still: halts, the circuit, pauses, break-glass; from when to when, by whom,"
        " why.",
    ),
    Row(
        "pending",
        LOOK,
        "pending",
        "Everybody who is wrong, waits, is in doubt, held back, paused or dead-lettered: since"
        " when, why, and when it is tried next. Grouped by cause, the oldest first.",
    ),
    Row(
        "rehearse",
        LOOK,
        "rehearse",
        "Decide for every mentor by the rules of now and by those of FILE, and show who would"
        " change.",
    ),
    Row(
        "migrate",
        SET_UP,
        "source",
        "Create or update hlf-sync's own tables (schema hlf_sync).",
    ),
    Row("topics", SET_UP, "source", "The topics of connectors/topics.json."),
    Row("connector", SET_UP, "source", "The Debezium connector that streams the changes."),
    Row("force", STEER, "steer", "Look at one mentor now, and deliver what is due."),
    Row(
        "sweep",
        STEER,
        "steer",
        "Look at every mentor in the view and in the ledger, or at a selection of them (the nightly"
        " batch; safe to run many times at once).",
    ),
    Row("resume", STEER, "steer", "Go on after a halt, once its cause is repaired."),
    Row(
        "confirm-removals",
        STEER,
        "steer",
        "Let through the removals that the mass change guard holds back: shows how many and whom,"
        " asks, and confirms exactly those.",
    ),
    Row(
        "distrust",
        STEER,
        "distrust",
        "Put every mentor in doubt: each is delivered once more, at the pace.",
    ),
    Row(
        "nightly",
        STEER,
        "nightly",
        "Do the nightly work of one date: sweep, credentials, reconcile, reminders, roster,"
        " pruning, verify.",
    ),
    Row(
        "remind",
        STEER,
        "nightly",
        "Write the reminders that are due before certificates end (the nightly work does it too).",
    ),
    Row(
        "pause",
        STEER,
        "steering",
        "Make no call until `unpause`: for one mentor ('not before HLF has called back'), or for"
        " all.",
    ),
    Row(
        "unpause",
        STEER,
        "steering",
        "End a pause, and ask the workers for everybody who has waited because of it.",
    ),
    Row(
        "replay",
        STEER,
        "replay",
        "Drain the dead letters: `plan` looks and changes nothing, `apply` asks the workers for what is"
        " due.",
    ),
    Row(
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


def load(row: Row) -> Any:
    """The command itself: a Typer command, or a group of them."""
    app = blank()
    import_module(f"hlf_sync.commands.{row.module}").mount(app)
    return get_group(app).commands[row.name]
