"""Are the settings complete, and do all names that look like settings mean something? Looked at
first: it says what can be asked at all.
"""

from collections.abc import Sequence

from hlf_sync.config.settings import Settings, variable
from hlf_sync.doctor.finding import Finding, fail, ok, some, warn
from hlf_sync.errors import SettingsError

CHECK = "settings"

_WORKER = ("kafka_bootstrap_servers", "schema_registry_url", "postgres_dsn", "dynamics_base_url")


def look_at(settings: Settings, unknown: Sequence[str]) -> Finding:
    """What `run` would say, and what is most likely a slip of the pen."""
    missing = [variable(name) for name in _WORKER if getattr(settings, name) is None]
    if missing:
        return fail(
            CHECK,
            f"not set: {some(missing)}",
            "set them in the environment or in --env-file; `hlf-sync run --help`",
        )
    try:
        if settings.delivery == "live":
            settings.require_credentials()
    except SettingsError as error:
        lines = "; ".join(str(error).splitlines())
        return fail(CHECK, lines, "secret, certificate or managed identity")
    if unknown:
        return warn(CHECK, some(list(unknown), 2), "correct or remove the name")
    return ok(
        CHECK, f"complete; delivery is {settings.delivery}, organisation {settings.organization}"
    )
