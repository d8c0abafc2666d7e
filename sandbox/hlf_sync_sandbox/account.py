"""Who PostgreSQL runs as when we are root, which it refuses to be, and whether that account can
reach a folder.

Called by what starts PostgreSQL. Makes no account and opens no folder of the user's:
where the account cannot pass, files go elsewhere.
"""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hlf_sync_sandbox.errors import PartError

# Not `postgres` first: on a machine with a PostgreSQL of its own, ours could then touch that one's
# files.
_CANDIDATES = ("nobody", "postgres")


@dataclass(frozen=True)
class Account:
    """An unprivileged user of this system."""

    name: str
    uid: int
    gid: int

    def popen_arguments(self) -> dict[str, Any]:
        """For `subprocess`: become this user, in no other group."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def may_enter(self, folder: Path) -> bool:
        """Whether every folder down to this one lets the account pass (mode bits only)."""
        return all(self._may_pass(step) for step in (folder, *folder.parents))

    def _may_pass(self, folder: Path) -> bool:
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def unprivileged() -> Account | None:
    """The account to become, or None when we are an ordinary user already. Raises `PartError` when
    there is none.
    """
    if os.geteuid() != 0:
        return None
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    what = "refuses to run as root, and this system has neither a user nobody nor postgres"
    raise PartError("postgres", what, "run the command as an ordinary user")
