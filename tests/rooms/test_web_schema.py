"""Every answer is one that the OpenAPI document names: schemathesis makes up thousands of requests
and looks at each answer. A program of its own, because its dependencies are many: it is run where
`HLF_SYNC_TEST_SCHEMATHESIS` says where it is, or where it is on the path.
"""

import os
import shutil
import subprocess
import uuid
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.cluster import Cluster
from tests.fixtures.web import Issuer, serving, until

PROGRAM = os.environ.get("HLF_SYNC_TEST_SCHEMATHESIS") or shutil.which("schemathesis")
ROOT = Path(__file__).parents[2]


@pytest.mark.postgres
@pytest.mark.requirement("R61")
@pytest.mark.timeout(600)
@pytest.mark.skipif(PROGRAM is None, reason="schemathesis is not installed: pip install it aside")
def test_no_answer_is_outside_the_document_and_none_is_our_fault(
    cluster: Cluster, tmp_path: Path
) -> None:
    issuer = Issuer()
    database = cluster.fresh()
    with psycopg.connect(cluster.dsn(database), autocommit=True) as books:
        books.execute(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', 'paused')",
            (str(uuid.uuid4()),),
        )
    with serving(tmp_path, cluster.dsn(database, "hlf_web"), issuer) as service:
        until(lambda: service.client.get("/api/v1/pending", headers=issuer.bearer()).is_success)
        ended = subprocess.run(
            [
                str(PROGRAM),
                "run",
                str(ROOT / "docs/openapi.json"),
                f"--url={service.url}",
                f"--header=Authorization: {issuer.bearer()['Authorization']}",
                "--max-examples=60",
                "--request-timeout=2",
                "--exclude-operation-id=streamEvents",  # it has no end
                "--exclude-checks=ignored_auth,positive_data_acceptance",
                "--no-color",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        log = service.log.read_text()
    assert ended.returncode == 0, ended.stdout[-6_000:] + ended.stderr
    # It ends with 0, too, when every call was refused (findings/refused_everywhere_is_a_green_run.sh).
    assert "returned only 401/403" not in ended.stdout, ended.stdout[-6_000:]
    assert "web_bug" not in log
