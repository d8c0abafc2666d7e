"""`hlf-sync run`: one worker. Thin: reads settings, starts it."""

import typer

from hlf_sync import collector
from hlf_sync.commands.options import EnvFile, log_unknown
from hlf_sync.config.loading import load, secret_file


def run(env_file: EnvFile = None) -> None:
    """Work the change stream until told to stop (SIGTERM, Ctrl-C).

    Start as many as you like: Kafka divides the partitions among them. Once up, an outage of
    anything makes it wait and say so, never exit.
    """
    settings = load(env_file)
    settings.require(
        "kafka_bootstrap_servers", "schema_registry_url", "postgres_dsn", "dynamics_base_url"
    )
    if settings.delivery == "live":
        settings.require_credentials()

    import uvloop  # noqa: PLC0415 - only a worker needs it

    from hlf_sync.telemetry.logs import configure  # noqa: PLC0415
    from hlf_sync.worker.memory import bound_arenas  # noqa: PLC0415
    from hlf_sync.worker.wiring import run_worker  # noqa: PLC0415

    bound_arenas()
    writer = configure(settings.log_level)
    log_unknown(env_file)
    collector.settle()
    try:
        code = uvloop.run(run_worker(settings, secret_file("dynamics_client_secret", env_file)))
    finally:
        writer.close()
    raise typer.Exit(code)


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run", rich_help_panel="Work")(run)
