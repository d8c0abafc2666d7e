#!/usr/bin/env bash
# Question: uvicorn serves a server-sent event stream to one open page and gets SIGTERM. When does it end, and with which exit status?
# Guess: within a few seconds, with 0: SIGTERM is a clean stop.
# What happens: there is no time limit by default. The stream goes on delivering events for as long as the page stays open, while the
#   port is closed to everybody else. When it ends, also after a clean stop, the status is that of a process killed by SIGTERM
#   (-15, 143 in a shell), because uvicorn raises the signal again. --timeout-graceful-shutdown bounds the first, not the second.
# Versions: uvicorn 0.54.0, starlette 1.10.0. Seen: 15 more events in 3 s after SIGTERM, alive; with the limit: ended within 2 s, -15.
source "$(dirname "$0")/lab.sh"
lab uvicorn==0.54.0 starlette==1.10.0 httpx==0.28.1
cat >"$LAB/stream.py" <<'PY'
import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route


async def events() -> AsyncIterator[str]:
    while True:
        yield "data: tick\n\n"
        await asyncio.sleep(0.2)


app = Starlette(routes=[Route("/", lambda _: StreamingResponse(events(), media_type="text/event-stream"))])
PY
cd "$LAB"
bin/python - <<'PY'
import signal
import socket
import subprocess
import sys
import time

import httpx


def stop(*options: str) -> tuple[bool, int, int]:
    """Whether the stream lived on for 3 s, the events after SIGTERM, the exit status."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "stream:app", "--port", str(port), "--log-level", "critical", *options]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    after = 0
    with httpx.stream("GET", f"http://127.0.0.1:{port}/", timeout=3) as answer:
        chunks = answer.iter_raw()
        next(chunks)
        server.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        try:
            for _ in chunks:
                after += 1
                if time.monotonic() - begun > 3:
                    break
        except httpx.HTTPError:
            pass
        outlived = time.monotonic() - begun > 3
    return outlived, after, server.wait(10)


unbounded, bounded = stop(), stop("--timeout-graceful-shutdown", "1")
print("as it comes:", unbounded, "with a limit of 1 s:", bounded, "(alive after 3 s, events after SIGTERM, exit status)")
assert unbounded[0] and unbounded[1] >= 10
assert not bounded[0]
assert unbounded[2] == bounded[2] == -signal.SIGTERM
PY
