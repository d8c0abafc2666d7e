"""hlf-sync: keeps HLF's public mentor listing in Dynamics 365 equal to what PostgreSQL says.

`from hlf_sync import open_portal, …` is the library (docs/library.md). Its names are loaded at
first use, so that a command does not pay for them.
"""

from typing import Any

# The public names of the library; everything else of this package may change without notice.
__all__ = [
    "CircuitState",
    "ContractError",
    "DependencyError",
    "DynamicsError",
    "ErrorCode",
    "HaltReason",
    "MentorMappingError",
    "Outcome",
    "PortalVisibility",
    "SettingsError",
    "State",
    "VisibilityUpdate",
    "open_portal",
]


def __getattr__(name: str) -> Any:
    """A public name, from the library (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hlf_sync.library import portal  # noqa: PLC0415 - see above

    return getattr(portal, name)
