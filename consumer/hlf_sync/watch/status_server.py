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

# So many workers on one machine find a port by themselves.
_PORTS_TRIED = 20
_LAST_PORT = 65_535


async def serve(
    status: Status, scrape: Scrape, host: str, port: int, *, may_move: bool = False
) -> web.AppRunner:
    """Start the endpoint; raises `SettingsError` when it cannot listen there. `may_move`: nobody
    asked for this very port, so where it is taken (by a worker that was started before) the next
    free one serves.
    """

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
        await _listen(runner, host, port, may_move=may_move)
    except OSError as error:
        await runner.cleanup()
        raise SettingsError(
            f"HLF_SYNC_HTTP_PORT: cannot listen on {host} port {port} ({_reason(error)}); take"
            " another port, or 0 for a free one"
        ) from None
    return runner


async def _listen(runner: web.AppRunner, host: str, port: int, *, may_move: bool) -> None:
    last = min(port + _PORTS_TRIED, _LAST_PORT) if may_move and port else port
    for candidate in range(port, last + 1):
        site = web.TCPSite(runner, host, candidate)
        try:
            await site.start()
        except OSError as error:
            await site.stop()
            if error.errno != errno.EADDRINUSE or candidate == last:
                raise
        else:
            if candidate != port:
                detail = f"port {port} is taken (by another worker?): this one answers at {host}:{candidate}"
                _log.warning("port_taken", port=candidate, detail=detail)
            return


def _reason(error: OSError) -> str:
    return (
        "in use already"
        if error.errno == errno.EADDRINUSE
        else errno.errorcode.get(error.errno or 0, type(error).__name__)
    )
