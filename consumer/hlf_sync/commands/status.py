"""`hlf-sync status`: what a running worker says of itself. Thin: asks, prints."""

import typer

from hlf_sync.commands.options import EnvFile, Json, settings_from
from hlf_sync.commands.terminal import Terminal, echo_json
from hlf_sync.core.numbers import json_of
from hlf_sync.errors import DependencyError
from hlf_sync.http.asking import NoAnswerError, ask_once

_out = Terminal(soft_wrap=True)


def status(env_file: EnvFile = None, as_json: Json = False) -> None:
    """Show what a running worker says of itself (its /status page)."""
    settings = settings_from(env_file)
    address = f"http://{settings.http_host}:{settings.http_port}/status"
    try:
        answer = ask_once(address, timeout_s=5)
        found = json_of(answer.body) if answer.is_ok else None
    except NoAnswerError as error:
        raise DependencyError(f"the worker at {address}", error.reason) from error
    except ValueError as error:
        raise DependencyError(f"the worker at {address}", type(error).__name__) from error
    if (
        not isinstance(found, dict)
        or not {"verdict", "because", "circuit", "queue"} <= found.keys()
    ):
        raise DependencyError(f"the worker at {address}", "what answers there is no worker")
    if as_json:
        echo_json(found, indent=2)
        return
    from hlf_sync.watch.status_page import render  # noqa: PLC0415

    _out.print(render(found))


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status", rich_help_panel="Look")(status)
