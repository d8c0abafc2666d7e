"""The settings of a sandbox, as `sandbox.env` has them. Called by `hlf_sync_sandbox.stack`; decides
only which values they are.
"""

from collections.abc import Collection

from hlf_sync_sandbox.dynamics.as_settings import dynamics_settings
from hlf_sync_sandbox.parts import connect, dynamics, postgres, registry, web
from hlf_sync_sandbox.parts.part import Site


def settings(site: Site, parts: Collection[str]) -> dict[str, str]:
    """Every HLF_SYNC_ setting that these parts answer, and the superuser's address."""
    values: dict[str, str] = {}
    if "kafka" in parts:
        values["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"] = site.address("kafka")
    if "registry" in parts:
        values["HLF_SYNC_SCHEMA_REGISTRY_URL"] = registry.confluent_url(site)
    if "postgres" in parts:
        values["HLF_SYNC_POSTGRES_DSN"] = postgres.dsn(site, "hlf_sync", postgres.DATABASE)
        values["SANDBOX_POSTGRES_ADMIN_DSN"] = postgres.admin_dsn(site, postgres.DATABASE)
    if "connect" in parts:
        values["HLF_SYNC_CONNECT_URL"] = connect.url(site)
        values["HLF_SYNC_CONNECT_SOURCE_FILE"] = str(connect.source_file(site))
    if "web" in parts:
        values |= web.settings(site)
        values["SANDBOX_WEB_KEY_FILE"] = str(web.key_file(site))
    if "dynamics" in parts:
        values |= dynamics_settings(dynamics.settings(site))
    return values
