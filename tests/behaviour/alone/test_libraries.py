"""Libraries of ours, where they are other than one would think. What leans on each:
docs/behaviour.md.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import msal
import psycopg
import pytest
from hlf_sync.errors import DependencyError
from hlf_sync.postgres.connections import open_pool, reaching
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from tests.fixtures.cluster import Cluster

pytestmark = [pytest.mark.behaviour]

_DEAD = 3
_AUTHORITY = "https://sts.example/tenant"
Killer = Callable[[], None]


@pytest.fixture
def kill(cluster: Cluster, database: str) -> Killer:
    """Ends every session of ours, as a restart of the server does."""

    def now() -> None:
        with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                (database,),
            ).fetchall()
            assert len(ended) == _DEAD

    return now


@pytest.fixture
async def checked(
    cluster: Cluster, database: str
) -> AsyncIterator[AsyncConnectionPool[psycopg.AsyncConnection[Any]]]:
    """A pool that looks at each connection before it gives it, as its documentation proposes."""
    async with AsyncConnectionPool(
        cluster.dsn(database),
        min_size=_DEAD,
        timeout=2,
        check=AsyncConnectionPool.check_connection,
        open=False,
    ) as pool:
        await pool.wait(30)
        yield pool


@pytest.mark.postgres
async def test_a_pool_that_checks_its_connections_gives_none_for_seconds_after_a_restart(
    checked: AsyncConnectionPool[psycopg.AsyncConnection[Any]], kill: Killer
) -> None:
    """Each dead one that it meets doubles its wait: 1 s, 2 s, 4 s. The server is up all the while."""
    kill()
    with pytest.raises(PoolTimeout):
        async with checked.connection():
            pass


@pytest.mark.postgres
async def test_our_pool_meets_each_dead_connection_once_and_without_a_wait(
    cluster: Cluster, database: str, kill: Killer
) -> None:
    """It does not check: a statement on a dead one fails, is tried again by whoever asked, and
    meets the next.
    """
    failures = 0
    async with open_pool(cluster.dsn(database, "hlf_sync"), size=_DEAD) as pool:
        await pool.resize(_DEAD, _DEAD)
        await pool.wait(30)
        kill()
        async with asyncio.timeout(2):
            while True:
                try:
                    with reaching("PostgreSQL"):
                        async with pool.connection() as connection:
                            await connection.execute("SELECT 1")
                            break
                except DependencyError:
                    failures += 1
    assert failures <= _DEAD


@dataclass
class Endpoint:
    """What msal takes for its HTTP client; answers the token requests in turn."""

    answers: list[tuple[int, dict[str, object]]]
    asked: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    def post(self, _url: str, **_: object) -> "_Answer":
        self.asked += 1
        status, body = self.answers[min(self.asked, len(self.answers)) - 1]
        return _Answer(status, json.dumps(body))

    def get(self, _url: str, **_: object) -> "_Answer":
        body = {
            "issuer": f"{_AUTHORITY}/v2.0",
            "authorization_endpoint": f"{_AUTHORITY}/oauth2/v2.0/authorize",
            "token_endpoint": f"{_AUTHORITY}/oauth2/v2.0/token",
        }
        return _Answer(200, json.dumps(body))

    def close(self) -> None: ...


@dataclass
class _Answer:
    status_code: int
    text: str
    headers: dict[str, str] = field(default_factory=dict)

    def raise_for_status(self) -> None: ...


def _application(endpoint: Endpoint) -> Any:
    return msal.ConfidentialClientApplication(
        "client",
        client_credential="secret",
        authority=_AUTHORITY,
        instance_discovery=False,
        http_client=endpoint,
    )


def _asked(application: Any) -> dict[str, Any]:
    answer: dict[str, Any] = application.acquire_token_for_client(scopes=["x/.default"])
    return answer


def test_msal_repeats_a_refusal_from_its_memory() -> None:
    """For a minute: a secret that was mended meanwhile is not tried. Only another application
    object asks again, which is why ours lives for one fetch.
    """
    endpoint = Endpoint([(400, {"error": "invalid_client"}), (200, _token(3599))])
    application = _application(endpoint)
    assert [_asked(application).get("error") for _ in range(3)] == ["invalid_client"] * 3
    assert endpoint.asked == 1
    assert _asked(_application(endpoint))["access_token"] == "token"


def test_msal_gives_a_lifetime_that_is_text_back_as_text_once_and_assumes_one_where_there_is_none() -> (
    None
):
    """Text the first time, a number from its cache afterwards; ten minutes where the answer names
    none.
    """
    written = _application(Endpoint([(200, _token("3599"))]))
    assert [type(_asked(written)["expires_in"]) for _ in range(2)] == [str, int]
    absent = _application(Endpoint([(200, {"token_type": "Bearer", "access_token": "token"})]))
    assert "expires_in" not in _asked(absent)
    assert _asked(absent)["expires_in"] in range(550, 601)


def _token(expires_in: object) -> dict[str, object]:
    return {"token_type": "Bearer", "access_token": "token", "expires_in": expires_in}
