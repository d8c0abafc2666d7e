"""The root of the command line: imports a command when it is asked for, and none for the list of
commands.

Called by `commands/app`. Knows the catalogue, and what other distributions add by the entry point
`hlf_sync.commands`.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from hlf_sync.commands.catalogue import EXTRAS, ROWS, TRY_IT, blank, load
from hlf_sync.commands.exit_codes import with_interrupt

_GROUP = "hlf_sync.commands"


class _Commands(dict[str, Any]):
    """The commands by name: values are stubs, `get` and `[]` give the command itself."""

    def __init__(self, extras: dict[str, EntryPoint]) -> None:
        super().__init__(
            {row.name: _stub(row.name, row.panel, row.summary) for row in ROWS}
            | {name: _stub(name, TRY_IT, EXTRAS.get(name, "")) for name in extras}
        )
        self._rows = {row.name: row for row in ROWS}
        self._extras = extras
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = (
                load(self._rows[name])
                if name in self._rows
                else _added(name, self._extras[name])
                if name in self._extras
                else super().__getitem__(name)
            )
        return self._loaded[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The command, loaded now."""
        return self[name] if name in self else default  # noqa: SIM401 - this is that `get`

    def stub(self, name: str) -> Any:
        """What the list of commands needs of it."""
        return super().__getitem__(name)


class LazyGroup(TyperGroup):
    """Typer's group with commands that are imported late."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        eager, extras = self.commands, {one.name: one for one in entry_points(group=_GROUP)}
        self._lazy = _Commands(extras)
        self._lazy.update(eager)
        self.commands = self._lazy

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command; of one that stands in a group, where it is."""
        name = args[0]
        if name not in self._lazy and (groups := self._groups_with(name)):
            ctx.fail(f"No such command {name!r}. Did you mean {' or '.join(groups)}?")
        return super().resolve_command(ctx, args)

    def _groups_with(self, name: str) -> list[str]:
        found = [
            group for group in self._lazy if name in getattr(self._lazy[group], "commands", {})
        ]
        return [f"'hlf-sync {group} {name}'" for group in found]

    def format_commands(self, _context: Any, formatter: Any) -> None:
        """Each panel's commands, by their first sentences."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self._lazy:
            stub = self._lazy.stub(name)
            panels.setdefault(stub.rich_help_panel or TRY_IT, []).append((name, stub.help or ""))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)


def _stub(name: str, panel: str, summary: str) -> TyperCommand:
    return TyperCommand(name, help=summary, rich_help_panel=panel)


def _added(name: str, point: EntryPoint) -> Any:
    found, app = point.load(), blank()
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=name, rich_help_panel=TRY_IT)
    else:
        app.command(name=name, rich_help_panel=TRY_IT)(found)
    return with_interrupt(get_group(app).commands[name], name)
