"""The command line. What there is stands in `catalogue`; each command is imported when it is asked
for, and does its work elsewhere.
"""

from typing import Annotated

import typer

from hlf_sync.commands.lazy import LazyGroup

app = typer.Typer(
    name="hlf-sync",
    cls=LazyGroup,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=(
        "Keeps HLF's public mentor listing in Dynamics 365 equal to what PostgreSQL says.\n\nStart"
        " with `hlf-sync demo`. Settings come from the environment (HLF_SYNC_…) or from --env-file."
    ),
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version  # noqa: PLC0415 - `--help` needs neither

        from hlf_sync.commands.terminal import echo  # noqa: PLC0415

        echo(f"hlf-sync {version('hlf-sync')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version, and end."
        ),
    ] = False,
) -> None:
    pass
