"""The routes of the service, in one table; middleware and problem+json. Built by `serve`."""

from importlib.util import find_spec

from starlette.applications import Starlette
from starlette.routing import BaseRoute


def page_routes() -> list[BaseRoute]:
    """The page's, as soon as there is one."""
    if find_spec("hlf_sync.web.page") is None:
        return []
    from hlf_sync.web.page.routes import routes  # noqa: PLC0415

    return routes


def build() -> Starlette:
    """The application."""
    return Starlette(routes=[*page_routes()])
