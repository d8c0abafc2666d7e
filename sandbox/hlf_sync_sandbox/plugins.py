"""`python -m hlf_sync_sandbox.plugins DIR`: Kafka Connect's plug-ins as a folder, fetched and verified.

Called by the Dockerfile (target connect). Knows which jars by `jars.lock`, as the sandbox does.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from hlf_sync_sandbox import download, jars
from hlf_sync_sandbox.errors import SandboxError
from hlf_sync_sandbox.screen import Screen
from hlf_sync_sandbox.unpack import plugin_folder, unpacked


def lay_out(target: Path) -> None:
    """Fetch Debezium and the converter and copy the folder that Connect reads. Raises
    `SandboxError`.
    """
    locked = jars.load()
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        download.fetch((*locked["converter"], *locked["debezium"]), cache, Screen(quiet=True))
        made = plugin_folder(locked["converter"], unpacked(locked["debezium"][0], cache), cache)
        shutil.copytree(made, target)


def main() -> None:
    """Read the one argument."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its argument
        sys.stderr.write("usage: python -m hlf_sync_sandbox.plugins DIR\n")
        sys.exit(2)
    try:
        lay_out(Path(sys.argv[1]))
    except SandboxError as error:
        sys.stderr.write(f"hlf_sync_sandbox.plugins: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
