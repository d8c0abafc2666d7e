"""Real tokens of a real identity provider (opt-in, it is heavy: HLF_SYNC_TEST_KEYCLOAK=1): who is
let in, and a key rotation. A key server that is away: tests/rooms/test_web_keys.py.
"""

import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.cluster import Cluster
from tests.fixtures.keycloak import Keycloak, running
from tests.fixtures.web import serving, until

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.timeout(900),
    pytest.mark.requirement("R61"),
    pytest.mark.skipif(
        not os.environ.get("HLF_SYNC_TEST_KEYCLOAK"), reason="opt-in: HLF_SYNC_TEST_KEYCLOAK=1"
    ),
]


def _port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def keycloak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keycloak]:
    with running(tmp_path_factory.mktemp("keycloak"), _port()) as found:
        yield found


def test_keycloaks_coordinators_are_told_apart_and_a_rotated_key_is_taken(
    keycloak: Keycloak, cluster: Cluster, tmp_path: Path
) -> None:
    dsn = cluster.dsn(cluster.fresh(), "hlf_web")
    settings = {"web_jwks_url": keycloak.jwks, "web_jwt_issuer": keycloak.issuer}
    with serving(tmp_path, dsn, None, **settings) as service:

        def status(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            path = f"/api/v1/mentors/{uuid.uuid4()}"
            return service.client.get(path, headers=headers).status_code

        ours, theirs = keycloak.tokens("kari"), keycloak.tokens("ola")
        until(lambda: status(ours["access_token"]) == 404)
        assert status(theirs["access_token"]) == 403
        # For the client itself, and for Keycloak itself: neither is for us.
        assert status(ours["id_token"]) == 401
        assert status(ours["refresh_token"]) == 401
        keycloak.rotate()
        fresh = until(lambda: _of_another_key(keycloak, ours["access_token"]))
        until(lambda: status(fresh) == 404, 60)  # asked for the key at most each 30 s
        assert status(ours["access_token"]) == 404
        assert keycloak.tokens("kari")["access_token"] not in service.log.read_text()


def _of_another_key(keycloak: Keycloak, before: str) -> str | None:
    token = str(keycloak.tokens("kari")["access_token"])
    return token if token.partition(".")[0] != before.partition(".")[0] else None
