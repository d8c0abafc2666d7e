"""hlf-sync: keeps HLF's public mentor listing in Dynamics 365 equal to what PostgreSQL says.

`from hlf_sync import open_portal, …` is the library (docs/library.md); its public names are listed
in library/portal.py, and everything else of this package may change without notice. They are loaded
at first use, so that a command does not pay for them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hlf_sync.library.portal import *  # noqa: F403 - what its `__all__` lists

else:

    def __getattr__(name: str) -> Any:
        """A public name, from the library (PEP 562). A lower-case one is asked for when a room is
        imported, and must cost nothing.
        """
        if name[:1].isupper() or name in {"open_portal", "__all__"}:
            from hlf_sync.library import portal  # noqa: PLC0415 - see above

            if name == "__all__" or name in portal.__all__:
                return getattr(portal, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
