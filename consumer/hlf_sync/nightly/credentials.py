"""The step `credentials`: asks for a fresh token (requirement R62), and tells how many days the
certificate or the secret still has.
"""

from hlf_sync import clients, clock
from hlf_sync.nightly.step import Counts, NightTools, Progress, Skip


async def run(place: NightTools, _progress: Progress) -> Counts | Skip:
    """Sign in. Raises `AuthError` when refused, `TokenUnavailableError` when there is no answer."""
    settings = place.settings
    if settings.delivery == "shadow" or settings.dynamics_base_url is None:
        return Skip("nothing is called: shadow, or no Dynamics in the settings")
    settings.require_credentials()
    transport = clients.open_dynamics_transport(settings, 1)
    credentials = clients.dynamics_credentials(settings, place.secret_file, transport)
    try:
        await credentials.prove(0.0)
    finally:
        await credentials.aclose()
        await transport.aclose()
    days = clients.credential_days_left(settings, clock.epoch_ms() / 1000)
    return {"accepted": True, "days_left": None if days is None else int(days)}
