"""The routes of the service, in one table; what they share. Built by `serve` and by tests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from hlf_sync.clock import epoch_ms
from hlf_sync.config.policies import retry_policy
from hlf_sync.config.settings import Settings
from hlf_sync.core.decide import Rules
from hlf_sync.postgres.connections import open_pool
from hlf_sync.postgres.coordinator_view import CoordinatorView
from hlf_sync.telemetry.web_metrics import Numbers
from hlf_sync.web import api, session
from hlf_sync.web.auth.caller import Sessions
from hlf_sync.web.auth.keys import KeySet, KeySource, SharedSecret
from hlf_sync.web.auth.token import Expected, Verifier
from hlf_sync.web.board import Board
from hlf_sync.web.forcing import Forcing
from hlf_sync.web.headers import Layer
from hlf_sync.web.items import Judging
from hlf_sync.web.pending import Pending
from hlf_sync.web.problems import HANDLERS
from hlf_sync.web.watching import BoardWatching

_CONNECTIONS = 8


def page_routes() -> list[BaseRoute]:
    """The page's, as soon as there is one."""
    if find_spec("hlf_sync.web.page.routes") is None:
        return []
    from hlf_sync.web.page.routes import routes  # noqa: PLC0415

    return routes


@dataclass(slots=True, kw_only=True)
class Web:
    """The parts of one service."""

    settings: Settings
    keys: KeySource
    now_s: Callable[[], float] = field(default=lambda: epoch_ms() / 1000)

    def application(self) -> Starlette:
        """Routes, layer and what requests find in `app.state`. Tasks run while it lives."""
        settings = self.settings
        dsn = lambda: settings.secret("web_postgres_dsn")  # noqa: E731
        pool = open_pool(dsn, size=_CONNECTIONS)
        view = CoordinatorView(
            pool,
            settings.organization,
            cool_down_s=settings.breaker_cool_down_s,
            is_shadow=settings.delivery == "shadow",
        )
        judging = Judging(
            rules=Rules(organization=settings.organization),
            retry=retry_policy(settings),
            mentor_url=settings.web_mentor_url,
        )
        board, numbers = Board(judging), Numbers()
        pending = Pending(view, board)
        watching = BoardWatching(view, board, dsn)

        @asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncIterator[None]:
            await pool.open(wait=False)
            tasks = [
                asyncio.create_task(watching.run()),
                asyncio.create_task(self.keys.renew()),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await pool.close(timeout=2)
                await self.keys.close()

        app = Starlette(
            routes=[*api.routes, *session.routes, *page_routes()],
            middleware=[Middleware(Layer, numbers=numbers, origins=settings.web_allowed_origins)],
            exception_handlers=HANDLERS,
            lifespan=lifespan,
        )
        app.state.settings, app.state.keys = settings, self.keys
        app.state.board, app.state.numbers, app.state.pending = board, numbers, pending
        app.state.forcing = Forcing(view, pending)
        app.state.sessions = Sessions(Verifier(self.keys, _expected(settings)), self.now_s)
        return app


def build(settings: Settings) -> Starlette:
    """The application. Raises `SettingsError`."""
    settings.require_web()
    return Web(settings=settings, keys=_keys(settings)).application()


def _keys(settings: Settings) -> KeySource:
    if settings.web_jwks_url is not None:
        return KeySet(settings.web_jwks_url)
    return SharedSecret(lambda: settings.secret("web_jwt_secret"))


def _expected(settings: Settings) -> Expected:
    return Expected(
        issuer=settings.web_jwt_issuer or "",
        audience=settings.web_jwt_audience or "",
        organization=settings.organization,
        claim=settings.web_organization_claim,
    )
