"""The worker's HTTP endpoint: /metrics /livez /readyz /status, and / for people. Loopback by
default, read only, no authentication, nothing personal in it.
"""

import errno
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.watch.scrape import Scrape
from hlf_sync.watch.status import Status

_log = structlog.get_logger()


# Nothing of the page may be run or fetched, whatever stands in it.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


async def serve(
    status: Status,
    scrape: Scrape,
    host: str,
    port: int,
    people: Callable[[], Awaitable[str]] | None = None,
) -> web.AppRunner:
    """Start the endpoint; raises `SettingsError` when it cannot listen there. `people` makes the
    page for people at `/`.
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

    async def pending(_request: web.Request) -> web.Response:
        assert people is not None  # noqa: S101 - routed only then
        try:
            text = await people()
        except DependencyError as error:
            return web.Response(status=503, text=f"{error}\n", headers=_HEADERS)
        return web.Response(text=text, content_type="text/html", headers=_HEADERS)

    application = web.Application(client_max_size=1024)
    if people is not None:
        application.router.add_get("/", pending)
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
