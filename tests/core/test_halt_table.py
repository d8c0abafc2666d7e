"""The table of halts is whole, and what it names exists."""

from pathlib import Path

import pytest
from hlf_sync.core.fleet_verdict import Reason
from hlf_sync.core.halts import HALTS, NOT_READY, STOP_ALL, Ends, stops
from hlf_sync.core.model import HaltReason, Operation

_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("reason", HaltReason)
def test_each_halt_has_an_alert_a_section_of_the_runbook_and_a_verdict(reason: HaltReason) -> None:
    halt = HALTS[reason]
    alerts = (_ROOT / "deploy/monitoring/prometheus/hlf-sync.alerts.yml").read_text("utf-8")
    assert f"alert: {halt.alert}\n" in alerts
    assert f'hlf_sync_halted{{reason="{reason.value}"}}' in alerts
    assert halt.alert in (_ROOT / "docs/runbook.md").read_text("utf-8")
    assert Reason(reason.value)
    assert halt.ends is Ends.BY_ITSELF or halt.ends.split()[-1] in halt.advice


def test_credentials_and_a_flood_stop_everything_and_the_guard_stops_removals_only() -> None:
    """contract.md: the first two make a worker not ready, too."""
    assert STOP_ALL == NOT_READY == {HaltReason.AUTH, HaltReason.DEAD_LETTER_LIMIT}
    assert stops(HaltReason.MASS_REMOVAL, Operation.REMOVE)
    assert not stops(HaltReason.MASS_REMOVAL, Operation.RESTORE)
    assert stops("a reason of a newer worker", Operation.RESTORE)
