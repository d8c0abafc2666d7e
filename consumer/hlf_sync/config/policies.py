"""The settings in the words of the core: one place that says which setting feeds which policy.
Called by the wiring and the library.
"""

from hlf_sync.config.settings import Settings
from hlf_sync.core.breaker import BreakerPolicy
from hlf_sync.core.limiter import LimitPolicy
from hlf_sync.core.mass_removal import MassRemovalPolicy
from hlf_sync.core.pacing import PacingPolicy
from hlf_sync.core.retry import RetryPolicy
from hlf_sync.postgres.ledger import LedgerPolicy


def breaker_policy(settings: Settings) -> BreakerPolicy:
    """R29. A probe is somebody's for as long as a lease."""
    return BreakerPolicy(
        settings.breaker_failure_threshold, settings.breaker_cool_down_s, probe_s=settings.lease_s
    )


def retry_policy(settings: Settings) -> RetryPolicy:
    """R27."""
    return RetryPolicy(
        settings.retry_max_attempts,
        settings.retry_base_delay_s,
        settings.retry_max_delay_s,
        settings.retry_jitter_s,
        settings.delivery_deadline_s,
    )


def pacing_policy(settings: Settings) -> PacingPolicy:
    """The whole fleet's pace."""
    return PacingPolicy(
        settings.pace_requests_per_s, settings.pace_burst, settings.pace_concurrency
    )


def limit_policy(settings: Settings) -> LimitPolicy:
    """When dead letters outrun successes."""
    return LimitPolicy(
        settings.dead_letter_limit_ratio,
        settings.dead_letter_limit_window,
        settings.dead_letter_limit_run,
    )


def ledger_policy(settings: Settings, owner: str) -> LedgerPolicy:
    """Leases, late effects and the mass change guard (R11), for this owner of leases."""
    guard = MassRemovalPolicy(
        settings.mass_removal_ratio, settings.mass_removal_min, settings.mass_removal_window_s
    )
    return LedgerPolicy(owner, settings.lease_s, settings.late_effect_s, guard)
