"""Builds what a reconciliation needs from the settings. Used by `hlf-sync reconcile` and by the
nightly work, so that both read Dynamics in one way.
"""

from collections.abc import Callable
from pathlib import Path

from hlf_sync import clients
from hlf_sync.config.settings import Settings
from hlf_sync.core.breaker import BreakerPolicy
from hlf_sync.core.decide import Rules
from hlf_sync.core.pacing import PacingPolicy
from hlf_sync.postgres import delivery_blockers as surroundings
from hlf_sync.postgres.connections import Pool
from hlf_sync.postgres.fleet_state import FleetTable
from hlf_sync.reconcile.column import Column, ColumnPolicy
from hlf_sync.reconcile.difference import Patience


def column_reader(
    settings: Settings,
    pool: Pool,
    patience_s: float,
    secret: Path | None,
    say: Callable[[str], None],
) -> Column:
    """Reads the one column; close its client afterwards. Inside the running loop."""
    transport = clients.open_dynamics_transport(settings, settings.pace_concurrency)
    client = clients.dynamics_client(
        settings, clients.dynamics_credentials(settings, secret, transport), transport
    )
    breaker = BreakerPolicy(
        settings.breaker_failure_threshold, settings.breaker_cool_down_s, probe_s=settings.lease_s
    )
    pace = PacingPolicy(
        settings.pace_requests_per_s, settings.pace_burst, settings.pace_concurrency
    )
    policy = ColumnPolicy(
        patience_s, settings.breaker_failure_threshold, settings.retry_max_attempts, pace
    )
    fleet = FleetTable(pool, settings.organization, breaker)
    return Column(
        client, fleet, pool, lambda: surroundings.read(pool, settings.organization), policy, say
    )


def patience(settings: Settings) -> Patience:
    """Ordinary times as the settings have them: what a delivery may take, a late effect, and some
    for good measure.
    """
    stall_s = settings.delivery_deadline_s + settings.lease_s + settings.late_effect_s + 15.0
    return Patience(stall_s=stall_s, rules=Rules(organization=settings.organization))
