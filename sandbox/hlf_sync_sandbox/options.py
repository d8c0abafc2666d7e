"""Options that the sandbox's commands share."""

from pathlib import Path
from typing import Annotated

import typer

State = Annotated[
    Path,
    typer.Option(
        "--state",
        envvar="HLF_SYNC_SANDBOX_STATE",
        metavar="DIR",
        help="Folder of the sandbox: ports, passwords, data, logs.",
        file_okay=False,
    ),
]
DEFAULT_STATE = Path(".sandbox")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
