"""Dynamics end to end: a token, then `WhoAmI`, the one request that proves host, TLS, token and
application user and writes nothing.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

from hlf_sync import clients
from hlf_sync.clock import epoch_ms
from hlf_sync.config.settings import Settings
from hlf_sync.core.answer import parse_http_date
from hlf_sync.core.model import ErrorCode
from hlf_sync.core.verdict import Course
from hlf_sync.doctor.clocks import Clocks
from hlf_sync.doctor.examination import ASK_S, Examination
from hlf_sync.doctor.finding import Finding, fail, ok, skipped, warn
from hlf_sync.dynamics.auth.credentials import RenewingCredentials, TokenUnavailableError
from hlf_sync.dynamics.http.dated import DatedTransport
from hlf_sync.dynamics.http.transport import PooledTransport
from hlf_sync.errors import AuthError, SettingsError
from hlf_sync.ports import CallResult

TOKEN, WHO_AM_I, ENDS = "dynamics.token", "dynamics.whoami", "dynamics.credential"
_SOON_DAYS, _MANY_DAYS = 7, 30

_FIX = (
    "look at HLF_SYNC_DYNAMICS_BASE_URL, HLF_SYNC_DYNAMICS_AUTHORITY, the firewall and DNS;"
    " deliveries wait meanwhile"
)
_SIGN_IN = (
    "look at HLF_SYNC_DYNAMICS_TENANT_ID, …_CLIENT_ID and the secret (its value, not its id; has it"
    " expired?); calls go on by themselves"
)
_TRUST = (
    "put the authority's certificate (PEM) into the file that HLF_SYNC_DYNAMICS_CA_FILE names, or"
    " renew the server's; a replaced file counts at once, without a restart"
)
_FIXES = {
    ErrorCode.AUTH_FAILURE: (
        "Dynamics needs an application user for this client id, enabled, with a role that may read"
        " and write contacts"
    ),
    ErrorCode.RATE_LIMITED: (
        "nothing: the workers wait. If it lasts, another application shares this user"
    ),
    ErrorCode.SERVER_ERROR: (
        "nothing: the workers wait and probe. Look at the Power Platform's service health"
    ),
    ErrorCode.NETWORK_ERROR: _FIX,
    ErrorCode.NOT_FOUND: (
        "look at HLF_SYNC_DYNAMICS_BASE_URL and HLF_SYNC_DYNAMICS_API_VERSION: there is no Web API"
        " at this address"
    ),
    ErrorCode.REJECTED: (
        "look at HLF_SYNC_DYNAMICS_BASE_URL and HLF_SYNC_DYNAMICS_API_VERSION: there is no Web API"
        " at this address"
    ),
}


def examination(settings: Settings, secret_file: Path | None, clocks: Clocks) -> Examination:
    """Of the settings' environment."""
    return Examination(
        "Dynamics", (ENDS, TOKEN, WHO_AM_I), lambda: _look(settings, secret_file, clocks), _FIX
    )


async def _look(
    settings: Settings, secret_file: Path | None, clocks: Clocks
) -> AsyncIterator[Finding]:
    if (missing := _missing(settings)) is not None:
        yield skipped(ENDS, missing)
        yield skipped(TOKEN, missing)
        yield skipped(WHO_AM_I, missing)
        return
    yield _ends(clients.credential_days_left(settings, epoch_ms() / 1000))
    brief = settings.model_copy(update={"request_timeout_s": ASK_S})
    async with AsyncExitStack() as stack:
        pooled = clients.open_dynamics_transport(brief, 1)
        transport = DatedTransport(pooled, lambda told: _note(clocks, told))
        credentials = clients.dynamics_credentials(brief, secret_file, transport)
        client = clients.dynamics_client(brief, credentials, transport)
        stack.push_async_callback(client.aclose)
        finding = await _token(credentials, pooled)
        yield finding
        if finding.fix:
            yield skipped(WHO_AM_I, f"because of {TOKEN}")
        else:
            judged = _judged(await client.who_am_i())
            yield _untrusted(WHO_AM_I, pooled) or judged


def _missing(settings: Settings) -> str | None:
    try:
        settings.require("dynamics_base_url")
        settings.require_credentials()
    except SettingsError as error:
        return f"{str(error).partition(':')[0]}" + (
            ", and delivery is shadow" if settings.delivery == "shadow" else ""
        )
    return None


def _ends(days: float | None) -> Finding:
    """How long the certificate or the secret still lasts."""
    if days is None:
        return ok(ENDS, "has no end that the settings or a certificate tell")
    if days > _MANY_DAYS:
        return ok(ENDS, f"ends in {days:.0f} days")
    text = f"ends in {days:.1f} days" if days > 0 else f"ended {-days:.1f} days ago"
    fix = "ask HLF's IT for a new one: 'Rotating the credentials' in docs/operators.md"
    return (fail if days <= _SOON_DAYS else warn)(ENDS, text, fix)


def _untrusted(check: str, transport: PooledTransport) -> Finding | None:
    """A certificate is not the credentials' fault."""
    trouble = transport.certificate_trouble
    return None if trouble is None else fail(check, f"certificate not trusted: {trouble}", _TRUST)


async def _token(credentials: RenewingCredentials, transport: PooledTransport) -> Finding:
    """A `TokenUnavailableError` passes, unless it is about a certificate: then the part does not
    answer.
    """
    try:
        await credentials.token()
    except AuthError as error:
        return fail(TOKEN, str(error), _SIGN_IN)
    except TokenUnavailableError:
        if (untrusted := _untrusted(TOKEN, transport)) is None:
            raise
        return untrusted
    return ok(TOKEN, "Entra ID gives one")


def _judged(result: CallResult) -> Finding:
    verdict = result.verdict
    if verdict.course is Course.DONE:
        return ok(WHO_AM_I, f"lets us in ({result.duration_ms} ms)")
    code = verdict.error_code or ErrorCode.NETWORK_ERROR
    answer = "no answer" if result.http_status is None else f"status {result.http_status}"
    text = f"{code}: {answer}, correlation id {result.correlation_id}"
    return (warn if code is ErrorCode.RATE_LIMITED else fail)(WHO_AM_I, text, _FIXES[code])


def _note(clocks: Clocks, told: str) -> None:
    """Dynamics' clock beside our own."""
    told_s = parse_http_date(told)
    if told_s is not None:
        clocks.dynamics_s = told_s + 0.5 - epoch_ms() / 1000  # it tells whole seconds
