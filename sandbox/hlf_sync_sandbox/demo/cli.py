"""`hlf-sync demo`: thin; finds a folder, starts and stops the stack, turns errors into sentences
and exit codes. Mounted by hlf_sync.commands.
"""

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from hlf_sync_sandbox.cache import locked
from hlf_sync_sandbox.errors import ArgumentError, SandboxError
from hlf_sync_sandbox.explained import SIGNALS, explained
from hlf_sync_sandbox.screen import Screen
from hlf_sync_sandbox.stack import Sandbox

_MARK = "this-is-a-demo"


def demo(
    *,
    state: Annotated[
        Path,
        typer.Option(
            "--state",
            metavar="DIR",
            help="Folder of the demo's own sandbox. A former demo in it is cleared away.",
            file_okay=False,
        ),
    ] = Path(".sandbox/demo"),
    plain: Annotated[
        bool,
        typer.Option(
            "--plain", help="Plain lines for logs and CI; the default where there is no terminal."
        ),
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the stack up afterwards, and say how to poke it.")
    ] = False,
) -> None:
    """See it work: the real stack, 1,000 mentors, a story of two minutes.

    A pause, a certificate that lapses, a renewal, returns with and without a certificate, another
    organisation's mentor, a mentor without a mapping, a stream, a burst, and an outage of Dynamics.
    At the end every mentor's value in Dynamics is compared with what the tables say.

    Exit codes: 0 all equal; 1 not equal, or something in the story did not happen (logs stay in
    DIR/logs); 2 wrong arguments; 4 a part did not come up; 130 Ctrl-C.
    """
    with explained(state, "stopped; the demo's stack is down"):
        sandbox = Sandbox(state, screen=Screen())
        with _folder(sandbox, keep=keep):
            from hlf_sync_sandbox.demo.production import (  # noqa: PLC0415 - so that --help needs no database driver
                perform,
            )
            from hlf_sync_sandbox.demo.view import View  # noqa: PLC0415

            console = Console(highlight=False)
            is_equal = perform(sandbox, View(console, is_plain=plain or not console.is_terminal))
            if not is_equal:
                raise SandboxError(
                    "the demo failed: Dynamics is not equal to the facts",
                    f"read the logs in {sandbox.layout.root / 'logs'}",
                )
        if keep:
            _explain_poking(sandbox)


@contextmanager
def _folder(sandbox: Sandbox, *, keep: bool) -> Iterator[None]:
    """The demo's folder for as long as it runs. A success or Ctrl-C leaves nothing behind, a
    failure its logs.
    """
    root = sandbox.layout.root
    mark = root / _MARK
    if root.is_dir() and any(root.iterdir()) and not mark.exists():
        raise ArgumentError(
            f"{root} holds something that is not a demo", "choose another folder for --state"
        )
    with locked(mark, lambda: _refuse(root)):
        sandbox.down(wipe=True)
        try:
            yield
        except KeyboardInterrupt:
            _clear(sandbox, mark, wipe=True)
            raise
        except BaseException:
            _clear(sandbox, mark, wipe=False)
            raise
        if not keep:
            _clear(sandbox, mark, wipe=True)


def _refuse(root: Path) -> NoReturn:
    raise ArgumentError(f"a demo already runs in {root}", "choose another folder for --state")


def _clear(sandbox: Sandbox, mark: Path, *, wipe: bool) -> None:
    # A second Ctrl-C would leave half a stack behind.
    previous = [signal.signal(number, signal.SIG_IGN) for number in SIGNALS]
    try:
        sandbox.down(wipe=wipe)
        if wipe:
            mark.unlink(missing_ok=True)
            if not any(mark.parent.iterdir()):
                mark.parent.rmdir()
    finally:
        for number, action in zip(SIGNALS, previous, strict=True):
            signal.signal(number, action)


def _explain_poking(sandbox: Sandbox) -> None:
    file, folder = shlex.quote(str(sandbox.layout.env_file)), shlex.quote(str(sandbox.layout.root))
    typer.echo("The stack still runs; the worker is stopped. To poke it:")
    typer.echo(
        f"  hlf-sync run --env-file {file}          a worker (for another one:"
        " HLF_SYNC_HTTP_PORT=0)"
    )
    typer.echo(f"  hlf-sync status --env-file {file}       what it says of itself")
    typer.echo(
        f"  . {file}; psql $SANDBOX_POSTGRES_ADMIN_DSN      change app.mentor and app.certification"
    )
    typer.echo(
        "  hlf-sync sandbox dynamics --help             break Dynamics, look at its contacts"
        f" (--state {folder})"
    )
    typer.echo(f"  hlf-sync sandbox down --wipe --state {folder}   stop it and forget it")
