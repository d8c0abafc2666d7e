"""`python -m hlf_sync_sandbox.dynamics`: starts the emulator in the foreground. Called by the
sandbox and by tests.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from hlf_sync_sandbox.dynamics.journal import RING_SIZE
from hlf_sync_sandbox.dynamics.server import Start, StartError, run
from hlf_sync_sandbox.dynamics.throttle import UNLIMITED, Limits


def start(
    *,
    state: Annotated[
        Path, typer.Option(help="Directory for certificates, contacts, journal and dynamics.json.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0: the port of the last start, or a free one.")
    ] = 0,
    journal_file: Annotated[
        bool, typer.Option(help="Append every request to journal.jsonl.")
    ] = True,
    journal_size: Annotated[int, typer.Option(min=1, help="Requests kept in memory.")] = RING_SIZE,
    limits: Annotated[bool, typer.Option(help="The protection limits of the service.")] = True,
    time_scale: Annotated[
        float, typer.Option(min=0.001, help="100: the window of 300 s lasts 3 s.")
    ] = 1.0,
) -> None:
    """Emulate Dynamics 365 (Dataverse Web API) and Microsoft Entra ID over TLS until SIGTERM."""
    try:
        run(
            Start(
                directory=state,
                host=host,
                port=port,
                journal_file=journal_file,
                journal_size=journal_size,
                limits=Limits(time_scale=time_scale) if limits else UNLIMITED,
            )
        )
    except StartError as error:
        sys.stderr.write(f"hlf_sync_sandbox.dynamics: {error}\n")
        raise typer.Exit(2) from error
    except OSError as error:
        sys.stderr.write(f"hlf_sync_sandbox.dynamics: {state}: {error.strerror or error}\n")
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(start)
