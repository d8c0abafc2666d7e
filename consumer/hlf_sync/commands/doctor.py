"""The command `doctor`: reads settings, lets every part be examined, prints what was
found. Thin.
"""

from pathlib import Path

import typer

from hlf_sync.commands.options import EnvFile, Json
from hlf_sync.commands.terminal import Terminal, echo, echo_json
from hlf_sync.config.loading import load, secret_file, unknown
from hlf_sync.errors import SettingsError

_out = Terminal(soft_wrap=False, highlight=False)
_error = Terminal(stderr=True)


def doctor(env_file: EnvFile = None, as_json: Json = False) -> None:
    """Check every part end to end and say what to do: one line per check, ok, warn, fail or
    skipped.

    Changes nothing, sends no change to Dynamics (`WhoAmI` only), shows no secret. Parts are asked
    side by side; a dead one costs five seconds.

    Exit codes: 0 nothing failed · 1 a check failed · 2 the settings are missing or wrong · 4
    PostgreSQL, Kafka or the registry does not answer.
    """
    from hlf_sync.doctor import report  # noqa: PLC0415 - brings in every client
    from hlf_sync.doctor.checkup import Checkup, check_up_now, without_settings  # noqa: PLC0415

    def examined(env_file: Path | None) -> Checkup:
        try:
            settings = load(env_file)
            file = secret_file("dynamics_client_secret", env_file)
            slips = unknown(env_file)
        except SettingsError as error:
            return without_settings(str(error))
        with _error.status("asking every part …"):
            return check_up_now(settings, file, slips)

    checkup = examined(env_file)
    if as_json:
        echo_json(report.as_json(checkup))
    elif _out.is_terminal:
        _out.print(report.table(checkup))
        _out.print(f"\n{report.summary(checkup)}")
    else:
        for finding in checkup.findings:
            echo(report.line(finding))
        echo(report.summary(checkup))
    raise typer.Exit(checkup.exit_code)


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", rich_help_panel="Look")(doctor)
