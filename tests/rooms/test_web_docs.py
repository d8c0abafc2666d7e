"""docs/coordinators.md: its calls and answers are those of a real run, its client works."""

import re
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.coordinators_page import PAGE, calls, page
from tests.fixtures.cluster import Cluster
from tests.fixtures.web import Issuer, serving, until

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R61"), pytest.mark.requirement("R66")]


def test_the_pages_calls_and_answers_are_those_of_a_real_run(
    cluster: Cluster, tmp_path: Path
) -> None:
    assert page(calls(cluster, tmp_path)) == PAGE.read_text(encoding="utf-8")


def test_the_pages_client_works(cluster: Cluster, tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(compile(found[1], "coordinators.md", "exec"), names)  # noqa: S102 - the page's own example
    issuer, database = Issuer(), cluster.fresh()
    mentor_id = str(uuid.uuid4())
    with (
        psycopg.connect(cluster.dsn(database), autocommit=True) as books,
        serving(tmp_path, cluster.dsn(database, "hlf_web"), issuer) as service,
    ):
        client = names["Coordinators"](service.url, issuer.token())
        books.execute(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', 'paused')",
            (mentor_id,),
        )
        assert until(lambda: client.notice(mentor_id)).startswith(
            "Portal visibility update pending"
        )
        assert client.sync_now(mentor_id, "why", "key") == "/api/v1/requests/1"
        changes = client.changes()
        while next(changes)[0] != "pending":
            pass
        books.execute(
            "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state) VALUES (%s, 'hidden',"
            " 'in_sync')",
            (mentor_id,),
        )
        assert next(changes) == ("resolved", {"mentor_id": mentor_id})
        assert client.notice(mentor_id) is None
        changes.close()
