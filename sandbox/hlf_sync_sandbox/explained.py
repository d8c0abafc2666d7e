"""Ends of the sandbox's commands for people: errors as sentences, interrupts as clean ends, exit
codes. Called by `cli` and `demo.cli`.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console

from hlf_sync_sandbox.download import disk_error
from hlf_sync_sandbox.errors import SandboxError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def explained(state: Path, on_interrupt: str) -> Iterator[None]:
    """`SandboxError` ends with its code; Ctrl-C, SIGTERM and a closed terminal with 128 + the
    signal's number, once what is inside has cleaned up.

    A signal that whoever started us has switched off (`nohup`) stays so.
    """
    received: list[int] = []

    def interrupt(number: int, _frame: object) -> NoReturn:
        received.append(number)
        raise KeyboardInterrupt

    previous = {
        number: signal.signal(number, interrupt)
        for number in SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"\n{on_interrupt}", err=True)
        raise typer.Exit(128 + (received[0] if received else signal.SIGINT)) from None
    except SandboxError as error:
        _show(error)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        told = disk_error(error, state)
        _show(told)
        raise typer.Exit(told.exit_code) from None
    finally:
        for number, action in previous.items():
            signal.signal(number, action)


def _show(error: SandboxError) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if error.log_tail:
        console.print("last lines of its log:", style="dim")
        console.print(error.log_tail, style="dim", markup=False)
    console.print(error.what, style="bold red", markup=False)
    if error.remedy:
        console.print(f"What to do: {error.remedy}.", markup=False)
