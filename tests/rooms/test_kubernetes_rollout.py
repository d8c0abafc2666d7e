"""How the manifests replace workers is what bench/rolling.py measured (docs/adr/0095-rolling-restart.md):
the new worker first, and no names of workers in the consumer group.
"""

from pathlib import Path

import yaml
from hlf_sync.config.settings import Settings

ROOT = Path(__file__).parents[2]
_STATIC = "group.instance.id"


def _worker() -> dict[str, object]:
    text = (ROOT / "deploy/kubernetes/base/worker.yaml").read_text(encoding="utf-8")
    found = [
        one for one in yaml.safe_load_all(text) if one["kind"] in {"Deployment", "StatefulSet"}
    ]
    assert len(found) == 1
    return dict(found[0])


def test_a_new_worker_is_ready_before_an_old_one_is_told_to_stop() -> None:
    """`surge` of the bench. A StatefulSet could only stop first."""
    worker = _worker()
    assert worker["kind"] == "Deployment"
    assert worker["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}  # type: ignore[index]


def test_nothing_that_is_deployed_names_a_member_of_the_group() -> None:
    """Static membership was measured and not taken."""
    assert _STATIC not in Settings.model_validate({}).kafka_options
    files = [ROOT / "docker-compose.yml", *(ROOT / "deploy").rglob("*")]
    assert [
        str(path.relative_to(ROOT))
        for path in files
        if path.is_file() and _STATIC in path.read_text(encoding="utf-8", errors="replace")
    ] == []
