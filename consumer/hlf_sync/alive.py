"""`python -m hlf_sync.alive [PORT PATH]`: whether the process in this container is alive; a health check.

Standard library only, because it starts every few seconds. Without arguments a worker's `/livez` is asked. Exit code 0 when it answers 200
within two seconds, else 1.
"""

import http.client
import os
import sys

_TIMEOUT_S = 2.0


def is_alive(port: int, path: str) -> bool:
    """Ask the process of this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main() -> None:
    """Port and path from the command line, or the worker's."""
    port, path = sys.argv[1:] or (os.environ.get("HLF_SYNC_HTTP_PORT", "8080"), "/livez")
    sys.exit(0 if is_alive(int(port), path) else 1)


if __name__ == "__main__":
    main()
