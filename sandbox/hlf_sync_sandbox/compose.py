"""What docker-compose.yml needs of the sandbox: `python -m hlf_sync_sandbox.compose settings|link|demo`.

`settings` turns what the emulator says of itself into an env file for the workers, and makes the key
pair that signs coordinators in; `link` prints the address that does; `demo` tells the story on the
running containers.
"""

import os
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from rich.console import Console

from hlf_sync_sandbox.development_key import link as address_of
from hlf_sync_sandbox.development_key import make_keys
from hlf_sync_sandbox.dynamics.as_settings import dynamics_settings
from hlf_sync_sandbox.dynamics.control import DynamicsControl, read_settings
from hlf_sync_sandbox.errors import SandboxError
from hlf_sync_sandbox.layout import write_env, write_private

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_PAGE = "http://127.0.0.1:8090"
_SECRET = "HLF_SYNC_DYNAMICS_CLIENT_SECRET"  # noqa: S105 - its name

State = Annotated[Path, typer.Argument(metavar="STATE", help="The emulator's state folder.")]


@app.command()
def settings(
    state: State,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The env file to write.")],
) -> None:
    """Write the emulator's address and credentials as settings of hlf-sync; the secret beside them in
    a file of its own, which the workers read anew when this is run again.
    """
    values = dynamics_settings({name: str(value) for name, value in read_settings(state).items()})
    secret = file.with_name("client-secret")
    write_private(secret, values.pop(_SECRET))
    write_env(file, {**values, f"{_SECRET}_FILE": str(secret)})
    _keys(state).mkdir(exist_ok=True, mode=0o700)
    make_keys(_keys(state))
    typer.echo(f"written: {file}")


@app.command()
def link(
    state: State,
    address: Annotated[str, typer.Option(help="Where the page is seen from.")] = _PAGE,
) -> None:
    """Print the address that signs a coordinator in for a working day."""
    typer.echo(address_of(_keys(state) / "key.pem", address))


@app.command()
def demo(state: State) -> None:
    """Tell the demo's story on the running containers. Needs a database without mentors."""
    from hlf_sync_sandbox.demo.coordinator import Coordinator  # noqa: PLC0415
    from hlf_sync_sandbox.demo.performance import (  # noqa: PLC0415 - so that `settings` is quick
        perform_on,
    )
    from hlf_sync_sandbox.demo.view import View  # noqa: PLC0415
    from hlf_sync_sandbox.demo.workers import NamedWorkers  # noqa: PLC0415

    console = Console(highlight=False)
    dsn = os.environ["SANDBOX_POSTGRES_ADMIN_DSN"]
    workers = NamedWorkers(os.environ.get("HLF_SYNC_DEMO_WORKERS", "worker"))
    view = View(console, is_plain=not console.is_terminal)
    try:
        _refuse_a_second_telling(dsn)
        coordinator = Coordinator(address_of(_keys(state) / "key.pem", "http://web:8090"))
        is_equal = perform_on(dsn, DynamicsControl(state), workers, view, coordinator)
    except SandboxError as error:
        Console(stderr=True).print(str(error), markup=False)
        raise typer.Exit(error.exit_code) from error
    raise typer.Exit(0 if is_equal else 1)


def _keys(state: Path) -> Path:
    return state / "web"


def _refuse_a_second_telling(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        if connection.execute("SELECT FROM app.mentor LIMIT 1").fetchone() is not None:
            raise SandboxError(
                "there are mentors in the database already: the story needs an empty one",
                "docker compose down --volumes, then docker compose up --wait",
            )


if __name__ == "__main__":
    app()
