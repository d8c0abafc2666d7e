"""Free ports of 127.0.0.1, chosen once per sandbox and kept, so that addresses survive `down` and
`up`.

Called by `hlf_sync_sandbox.stack`. They lie below the range from which systems give ports to
outgoing connections; otherwise a client's connection could sit on one of them while the sandbox is
down.
"""

import json
import random
import socket
from pathlib import Path

NAMES = (
    "postgres",
    "kafka",
    "kafka_controller",
    "registry",
    "registry_management",
    "connect",
    "dynamics",
    "web",
)

HOST = "127.0.0.1"
_RANGE = range(15_000, 30_000)


def is_free(port: int) -> bool:
    """Whether one could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do it: a connection that is closing does not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def keep(path: Path) -> dict[str, int]:
    """The ports in `path`; those that are missing there are chosen and written."""
    ports = read(path)
    candidates = random.SystemRandom()
    for name in NAMES:
        while name not in ports:
            port = candidates.choice(_RANGE)
            if port not in ports.values() and is_free(port):
                ports[name] = port
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(ports, indent=1) + "\n", encoding="utf-8")
    fresh.replace(path)
    return ports


def read(path: Path) -> dict[str, int]:
    """The ports that were chosen, as far as they can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: int(content[name]) for name in NAMES if name in content}
    except (OSError, ValueError, TypeError):
        return {}
