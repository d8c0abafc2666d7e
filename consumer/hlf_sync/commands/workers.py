"""Where the workers listen, for the commands that ask them."""

import socket
from typing import Annotated

import typer

from hlf_sync import operate
from hlf_sync.config.settings import Settings
from hlf_sync.errors import HlfSyncError
from hlf_sync.postgres.connections import DatabaseError
from hlf_sync.postgres.workers import look
from hlf_sync.top.look import Registered, reachable

Workers = Annotated[
    list[str] | None,
    typer.Option(
        "--worker",
        metavar="ADDRESS",
        help=(
            "Where a worker listens: 8080, host:8080 or http://host:8080. Once per worker. Default:"
            " all that have registered in PostgreSQL, else HLF_SYNC_HTTP_HOST and _HTTP_PORT."
        ),
    ),
]


def registered(settings: Settings) -> Registered:
    """Where the workers listen that wrote of themselves within an hour; none where PostgreSQL cannot
    be asked: then the settings must do.
    """
    if settings.postgres_dsn is None:
        return Registered()
    try:
        with operate.connected(settings) as connection:
            return reachable(look(connection), socket.gethostname())
    except (HlfSyncError, DatabaseError):
        return Registered()
