"""`python -m hlf_sync.alive`: whether the worker in this container is alive; a container's health check.

Standard library only, because it starts every few seconds. Exit code 0 when `/livez` answers 200
within two seconds, else 1.
"""

import http.client
import os
import sys

_TIMEOUT_S = 2.0


def is_alive(port: int) -> bool:
    """Ask the worker of this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_alive(int(os.environ.get("HLF_SYNC_HTTP_PORT", "8080"))) else 1)
