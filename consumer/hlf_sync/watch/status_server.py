"""The worker's HTTP endpoint: /metrics /livez /readyz /status. Loopback by default, read only, no
authentication, nothing personal in it.
"""

import errno

import structlog
from aiohttp import web

from hlf_sync.errors import SettingsError
from hlf_sync.watch.scrape import Scrape
from hlf_sync.watch.status import Status

_log = structlog.get_logger()


async def serve(status: Status, scrape: Scrape, host: str, port: int) -> web.AppRunner:
    """Start the endpoint; raises `SettingsError` when it cannot listen there."""

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(
            body=scrape.page(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def livez(_request: web.Request) -> web.Response:
        return (
            web.Response(text="ok\n")
            if status.is_alive()
            else web.Response(status=503, text="the consumer thread is stuck\n")
        )

    async def readyz(_request: web.Request) -> web.Response:
        missing = status.missing()
        return (
            web.Response(status=503, text="\n".join(missing) + "\n")
            if missing
            else web.Response(text="ok\n")
        )

    async def show(_request: web.Request) -> web.Response:
        return web.json_response(status.snapshot())

    application = web.Application(client_max_size=1024)
    for path, answer in {
        "/metrics": metrics,
        "/livez": livez,
        "/readyz": readyz,
        "/status": show,
    }.items():
        application.router.add_get(path, answer)
    runner = web.AppRunner(application, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise SettingsError(
            f"HLF_SYNC_HTTP_PORT: cannot listen on {host} port {port} ({_reason(error)}); take"
            " another port, or 0 for a free one"
        ) from None
    return runner


def _reason(error: OSError) -> str:
    return (
        "in use already"
        if error.errno == errno.EADDRINUSE
        else errno.errorcode.get(error.errno or 0, type(error).__name__)
    )
