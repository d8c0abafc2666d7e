"""`hlf-sync status`: what a running worker says of itself, the leader where there is one. Thin: asks,
prints.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import typer

from hlf_sync.commands.options import EnvFile, Json, settings_from
from hlf_sync.commands.terminal import Terminal, echo_json
from hlf_sync.commands.workers import Workers, registered
from hlf_sync.config.settings import Settings
from hlf_sync.core.numbers import json_of
from hlf_sync.errors import DependencyError
from hlf_sync.http.asking import NoAnswerError, ask_once
from hlf_sync.top.look import Kin, Registered, addresses_of

_out = Terminal(soft_wrap=True)
_AT_ONCE = 16


def status(workers: Workers = None, env_file: EnvFile = None, as_json: Json = False) -> None:
    """Show what a running worker says of itself (its /status page).

    Of several the leader, which knows the whole fleet: who is away or frozen, the listing, the
    source. `hlf-sync top` shows all of them.
    """
    settings = settings_from(env_file)
    known = registered(settings)
    found = _best(_addresses(settings, known, workers or []), Kin.of(settings, known))
    if as_json:
        echo_json(found, indent=2)
        return
    from hlf_sync.watch.status_page import render  # noqa: PLC0415

    _out.print(render(found))


def _addresses(settings: Settings, known: Registered, named: Sequence[str]) -> Sequence[str]:
    """Those that were named, else all that have registered: another installation's worker may listen
    at the settings' own port. That is asked where none is known.
    """
    return (not named and known.addresses) or addresses_of(named, settings)


def _best(addresses: Sequence[str], kin: Kin) -> dict[str, Any]:
    """The leader's answer, else the first one; raises `DependencyError` when none of ours answers."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        answers = list(threads.map(lambda root: _ask(root, kin), addresses))
    found = [answer for answer in answers if isinstance(answer, dict)]
    if not found:
        raise next(answer for answer in answers if isinstance(answer, DependencyError))
    return next((answer for answer in found if answer["leader"]), found[0])


def _ask(root: str, kin: Kin) -> dict[str, Any] | DependencyError:
    address = f"{root}/status"
    try:
        answer = ask_once(address, timeout_s=5)
        found = json_of(answer.body) if answer.is_ok else None
    except NoAnswerError as error:
        return DependencyError(f"the worker at {address}", error.reason)
    except ValueError as error:
        return DependencyError(f"the worker at {address}", type(error).__name__)
    if (
        not isinstance(found, dict)
        or not {"verdict", "because", "circuit", "queue", "leader"} <= found.keys()
    ):
        return DependencyError(f"the worker at {address}", "what answers there is no worker")
    of = (found.get(name) for name in ("worker", "organization", "group_id"))
    stranger = kin.stranger(*(one if isinstance(one, str) else None for one in of))
    return found if stranger is None else DependencyError("our worker", f"{address} {stranger}")


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status", rich_help_panel="Look")(status)
