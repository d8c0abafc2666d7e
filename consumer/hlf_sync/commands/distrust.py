"""`hlf-sync distrust`: puts every mentor in doubt, so that each is asserted once more. Mounted by the
command line; thin.
"""

from typing import Annotated

import typer

from hlf_sync import operate
from hlf_sync.commands.options import EnvFile, Json, Reason, must_agree, settings_from
from hlf_sync.commands.terminal import echo, echo_json
from hlf_sync.core.plural import counted
from hlf_sync.postgres.statements import distrust as sql
from hlf_sync.postgres.statements import sync_request


def distrust(
    reason: Reason,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Put every mentor in doubt: each is delivered once more, at the pace.

    For a restored Dynamics, a restored backup, a promoted standby: whenever Dynamics may show
    something else than the ledger says. Never wrong, only slow: a thousand mentors take a minute.
    The workers do it by themselves when they meet another database or an older one.
    """
    settings = settings_from(env_file)
    with operate.connected(settings) as connection:
        if not yes:
            known = connection.execute(sql.KNOWN).fetchone()
            echo(f"the ledger has {counted(known['n'] if known else 0, 'mentor')}", is_error=True)
            must_agree("Deliver all of them once more?")
        with connection.transaction():
            connection.execute(sql.DOUBT)
            connection.execute(sql.DOUBT_UNKNOWN, (settings.organization,))
            asked = connection.execute(
                sync_request.AFTER_DISTRUST, (operate.operator(), reason)
            ).rowcount
            row = connection.execute(sql.IN_DOUBT).fetchone()
    found = {"in_doubt": row["n"] if row else 0, "requests": asked}
    if as_json:
        echo_json(found)
    else:
        echo(
            f"{counted(found['in_doubt'], 'mentor')} in doubt, {counted(asked, 'look')} asked for;"
            " `hlf-sync top` shows how many are left"
        )


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command("distrust", rich_help_panel="Steer")(distrust)
