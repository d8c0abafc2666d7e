"""What each command's exit code says, in its `--help`: one table, so that no command forgets it.
contract.md has the codes' meanings; a command whose own text tells its codes is left alone.

Called when a command is loaded (commands/catalogue, commands/lazy). A test walks the commands.
"""

from collections.abc import Mapping
from typing import Any

import typer

_ARGUMENTS = "2 wrong settings or arguments"
_POSTGRES = "4 PostgreSQL cannot be reached"
_KAFKA = "4 Kafka cannot be reached"
_CONNECT = "4 Kafka Connect cannot be reached"
_ALL = "4 PostgreSQL, Kafka or the registry cannot be reached"
_WAITED = "3 `--wait`: a halt stands in the way, or --timeout passed; which is said"
_REFUSED_OR_HALTED = "3 a halt stands in the way, or too many failed again; which is said"

TABLE: Mapping[str, tuple[str, ...]] = {
    "run": (
        "0 stopped, all drained",
        _ARGUMENTS,
        "4 PostgreSQL, Kafka or the registry stayed away for HLF_SYNC_STARTUP_DEADLINE_S",
        "5 a stop took too long, or a second signal came: what was cut short comes again",
    ),
    "web": ("0 stopped", _ARGUMENTS, _POSTGRES),
    "status": ("0", _ARGUMENTS, "4 no worker answers there"),
    "top": ("0", _ARGUMENTS, "4 `--once`: no worker answers"),
    "migrate": ("0 up to date", _ARGUMENTS, _POSTGRES),
    "topics apply": (
        "0 as they must be",
        _ARGUMENTS,
        "3 a topic differs in what cannot be changed here",
        _KAFKA,
    ),
    "connector apply": ("0 it runs", _ARGUMENTS, "3 applied, and it does not run", _CONNECT),
    "connector status": ("0 it runs", _ARGUMENTS, "3 it does not run", _CONNECT),
    "connector pause": ("0 asked for", _ARGUMENTS, _CONNECT),
    "connector resume": ("0 it runs", _ARGUMENTS, "3 it does not run", _CONNECT),
    "connector stop": ("0 asked for", _ARGUMENTS, _CONNECT),
    "connector restart": ("0 it runs", _ARGUMENTS, "3 it does not run", _CONNECT),
    "connector reset": ("0 it runs", _ARGUMENTS, "3 it does not run", _CONNECT),
    "connector recover": (
        "0 it runs, and everybody is asked for",
        "2 wrong settings or arguments, or not agreed to",
        "3 the slot is missing or lost, or the connector does not run",
        "4 Kafka Connect or PostgreSQL cannot be reached",
    ),
    "force": (
        "0 asked for; with `--wait` done",
        "1 `--wait`: it ended as an open dead letter",
        "2 wrong settings or arguments, or a mentor whom nobody knows",
        _WAITED,
        _POSTGRES,
    ),
    "sweep": ("0 asked for; with `--wait` done", _ARGUMENTS, _WAITED, _POSTGRES),
    "resume": ("0 lifted, or it did not hold", _ARGUMENTS, _POSTGRES),
    "confirm-removals": (
        "0 let through, or nobody waits",
        f"{_ARGUMENTS}, or not agreed to",
        _POSTGRES,
    ),
    "distrust": ("0 asked for", f"{_ARGUMENTS}, or not agreed to", _POSTGRES),
    "remind": ("0", _ARGUMENTS, _POSTGRES),
    "replay plan": ("0 written", _ARGUMENTS, _ALL),
    "replay apply": (
        "0 all asked for and followed to their end",
        f"{_ARGUMENTS}, a plan that may not be applied, or not agreed to",
        _REFUSED_OR_HALTED,
        _ALL,
    ),
    "replay close": ("0 closed", f"{_ARGUMENTS}, a plan that was edited, or not agreed to", _ALL),
    "replay show": ("0", f"{_ARGUMENTS}, or no such letter", _ALL),
    "replay watch": ("0", _ARGUMENTS, _REFUSED_OR_HALTED, _ALL),
}
_SAID = "Exit codes:"
# Ctrl-C is how these end: in good order.
_END_SO = frozenset({"run", "web", "top"})


def tell(app: typer.Typer, path: tuple[str, ...] = ()) -> None:
    """Give every command below `app` its line."""
    for command in app.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "").replace("_", "-")
        codes = TABLE.get(" ".join((*path, name)))
        is_told = _SAID in f"{command.help or ''}{getattr(command.callback, '__doc__', '') or ''}"
        if codes and not is_told:
            command.epilog = f"{_SAID} {' · '.join(codes)}."
    for group in app.registered_groups:
        if group.typer_instance is not None:
            tell(group.typer_instance, (*path, str(group.name or "")))


def with_interrupt(command: Any, name: str) -> Any:
    """A command, or a group of them, with what Ctrl-C ends it with: told once for all, of whatever
    distribution they are.
    """
    if name in _END_SO:
        return command
    for child, found in getattr(command, "commands", {}).items():
        with_interrupt(found, f"{name} {child}")
    for place in ("help", "epilog"):
        text = (getattr(command, place) or "").rstrip()
        if _SAID in text and "130" not in text:
            setattr(command, place, f"{text.removesuffix('.')} · 130 interrupted by Ctrl-C.")
    return command
