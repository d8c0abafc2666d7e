"""`hlf-sync web`: thin; reads settings, has the service run."""

import typer

from hlf_sync import collector
from hlf_sync.commands.options import EnvFile, log_unknown
from hlf_sync.config.loading import load


def web(env_file: EnvFile = None) -> None:
    """Serve the coordinators: which visibility updates are open, and 'Sync now' (docs/coordinators.md).

    A process of its own beside the workers, with the database role hlf_web. Needs
    HLF_SYNC_WEB_POSTGRES_DSN, _WEB_JWT_ISSUER, _WEB_JWT_AUDIENCE and one of _WEB_JWKS_URL,
    _WEB_JWT_SECRET. Once up, an outage of PostgreSQL or of the key server makes it answer 503 and
    recover, never exit.
    """
    settings = load(env_file)
    settings.require_web()

    import uvloop  # noqa: PLC0415 - only a service needs it

    from hlf_sync.telemetry.logs import configure  # noqa: PLC0415
    from hlf_sync.web.serve import run  # noqa: PLC0415

    collector.settle()
    writer = configure(settings.log_level)
    log_unknown(env_file)
    try:
        uvloop.run(run(settings))
    finally:
        writer.close()


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Work")(web)
