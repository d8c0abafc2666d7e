"""What the emulator says of itself, as settings of hlf-sync. Called by the sandbox and for Compose."""

from collections.abc import Mapping

# Setting ← field of the emulator's dynamics.json.
_DYNAMICS = {
    "BASE_URL": "base_url",
    "AUTHORITY": "authority",
    "TENANT_ID": "tenant_id",
    "CLIENT_ID": "client_id",
    "CLIENT_SECRET": "client_secret",
    "CA_FILE": "ca_file",
}


def dynamics_settings(found: Mapping[str, str]) -> dict[str, str]:
    """The settings that the emulator's dynamics.json answers."""
    return {
        f"HLF_SYNC_DYNAMICS_{name}": found[field]
        for name, field in _DYNAMICS.items()
        if field in found
    }
