"""What the dashboard shows at one moment, asked of a real Prometheus: the queries of its own panels
over the time that it looks back at.

Drawn by picture.py.
"""

import json
from pathlib import Path
from typing import Any

from hlf_sync.clock import epoch_ms

from tests.fixtures.prometheus import Watching

BOARD = Path(__file__).parents[2] / "deploy/monitoring/grafana/dashboards/hlf-sync.json"
_LOOKS_BACK_S = 1800
_STEP_S = 10


def photograph(watching: Watching, file: Path) -> None:
    """Write every panel's series, and the alerts that fire."""
    now_s = epoch_ms() // 1000
    board = json.loads(BOARD.read_text(encoding="utf-8"))
    panels = {
        panel["id"]: [_series(watching, target, now_s) for target in panel["targets"]]
        for panel in board["panels"]
        if panel.get("targets")
    }
    alerts = [alert for alert in watching.ask("alerts")["alerts"] if alert["state"] == "firing"]
    found = {
        "now_s": now_s,
        "looks_back_s": _LOOKS_BACK_S,
        "step_s": _STEP_S,
        "alerts": alerts,
        "panels": panels,
    }
    file.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")


def _series(watching: Watching, target: dict[str, Any], now_s: int) -> list[dict[str, Any]]:
    return watching.range(target["expr"], now_s - _LOOKS_BACK_S, now_s, _STEP_S)
