"""When a token is asked for: once at a time, early, never needlessly, and the last good one serves
through any trouble.
"""

import asyncio
import traceback

import pytest
from hlf_sync.dynamics.auth.credentials import (
    FETCH_LIMIT_S,
    AccessToken,
    Grant,
    RenewingCredentials,
    TokenUnavailableError,
)
from hlf_sync.errors import AuthError

from tests.fakes.credentials import Clock, SteeredSource, settled

pytestmark = pytest.mark.requirement("R23")


@pytest.fixture
def clock() -> Clock:
    """A monotonic clock at 1000 s."""
    return Clock()


@pytest.fixture
def source() -> SteeredSource:
    """Tokens that live an hour."""
    return SteeredSource()


@pytest.fixture
def credentials(source: SteeredSource, clock: Clock) -> RenewingCredentials:
    """Credentials over that source."""
    return RenewingCredentials(source, auth_retry_s=30.0, monotonic=clock)


def text(token: AccessToken) -> str:
    """What the token is."""
    return token.secret.get_secret_value()


async def refused(credentials: RenewingCredentials) -> AuthError:
    """Ask, and get a refusal."""
    with pytest.raises(AuthError) as caught:
        await credentials.token()
    return caught.value


async def unavailable(credentials: RenewingCredentials) -> TokenUnavailableError:
    """Ask, and get no answer."""
    with pytest.raises(TokenUnavailableError) as caught:
        await credentials.token()
    return caught.value


async def test_ten_cold_callers_cause_one_fetch(
    credentials: RenewingCredentials, source: SteeredSource
) -> None:
    """Single flight."""
    source.gate = asyncio.Event()
    callers = [asyncio.create_task(credentials.token()) for _ in range(10)]
    await settled(lambda: source.fetches == 1)
    source.gate.set()
    assert {text(token) for token in await asyncio.gather(*callers)} == {"token-1"}
    assert source.fetches == 1


async def test_a_fresh_token_is_given_without_asking(
    credentials: RenewingCredentials, source: SteeredSource, clock: Clock
) -> None:
    """Until half of its life."""
    await credentials.token()
    clock.now_s += 1799
    assert text(await credentials.token()) == "token-1"
    assert source.fetches == 1


async def test_past_half_of_its_life_it_is_renewed_beside_the_calls(
    credentials: RenewingCredentials, source: SteeredSource, clock: Clock
) -> None:
    """The caller that notices goes on with the old one at once."""
    await credentials.token()
    clock.now_s += 1801
    source.gate = asyncio.Event()
    assert text(await credentials.token()) == "token-1"
    source.gate.set()
    await settled(lambda: source.fetches == 2 and credentials._renewal is None)
    assert text(await credentials.token()) == "token-2"


async def test_within_60_s_of_its_end_a_new_one_is_waited_for(
    credentials: RenewingCredentials, clock: Clock
) -> None:
    """Renewed at the latest then."""
    await credentials.token()
    clock.now_s += 3541
    assert text(await credentials.token()) == "token-2"


@pytest.mark.parametrize("lifetime_s", [1.0, 45.0, 60.0])
async def test_a_short_lived_token_is_used_for_half_of_its_life(
    clock: Clock, lifetime_s: float
) -> None:
    """Not one fetch per call, although it is within 60 s of its end from the start."""
    source = SteeredSource(lifetime_s)
    credentials = RenewingCredentials(source, monotonic=clock)
    await credentials.token()
    clock.now_s += lifetime_s * 0.4
    await credentials.token()
    assert source.fetches == 1
    clock.now_s += lifetime_s * 0.2
    assert text(await credentials.token()) == "token-2"


async def test_an_outage_of_the_token_endpoint_harms_nobody_while_a_token_lives(
    credentials: RenewingCredentials, source: SteeredSource, clock: Clock
) -> None:
    """Calls go on to its real end, the endpoint is asked at growing intervals, and only then there
    is none.
    """
    await credentials.token()
    source.error = TokenUnavailableError("status 503")
    for _ in range(3598):
        clock.now_s += 1
        assert text(await credentials.token()) == "token-1"
        await settled(lambda: credentials._renewal is None)
    assert isinstance(credentials.trouble, TokenUnavailableError)
    assert 100 < source.fetches < 200  # every 15 s from half of its life
    clock.now_s += 100
    assert (await unavailable(credentials)).retry_after_s == pytest.approx(15.0)
    source.error = None
    clock.now_s += 15
    assert text(await credentials.token()).startswith("token-")
    assert credentials.trouble is None


async def test_a_fetch_over_two_seconds_is_no_token() -> None:
    """A network_error, and the fetch is given up."""
    source = SteeredSource()
    source.gate = asyncio.Event()
    started_s = asyncio.get_running_loop().time()
    error = await unavailable(RenewingCredentials(source))
    assert FETCH_LIMIT_S <= asyncio.get_running_loop().time() - started_s < FETCH_LIMIT_S + 1
    assert error.retry_after_s == pytest.approx(1.0, abs=0.1)


async def test_between_tries_nobody_asks_and_everybody_knows_for_how_long(
    credentials: RenewingCredentials, source: SteeredSource, clock: Clock
) -> None:
    """1, 2, 4, 8, then every 15 s; Retry-After is a lower bound."""
    source.error = TokenUnavailableError("connect")
    waits = []
    for _ in range(6):
        waits.append((await unavailable(credentials)).retry_after_s)
        clock.now_s += 0.25
        assert (await unavailable(credentials)).retry_after_s == pytest.approx(
            (waits[-1] or 0) - 0.25
        )
        clock.now_s += waits[-1] or 0
    assert waits == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    assert source.fetches == 6
    source.error = TokenUnavailableError("status 429", 60.0)
    assert (await unavailable(credentials)).retry_after_s == 60.0


@pytest.mark.requirement("R48")
async def test_refused_credentials_are_tried_again_slowly(
    credentials: RenewingCredentials, source: SteeredSource, clock: Clock
) -> None:
    """Every auth_retry_s; in between the same refusal without a request."""
    source.error = AuthError("invalid_client", aadsts=7000215)
    assert (await refused(credentials)).retry_after_s == 30.0
    clock.now_s += 29
    again = await refused(credentials)
    assert (again.error, again.aadsts, again.retry_after_s, source.fetches) == (
        "invalid_client",
        7000215,
        1.0,
        1,
    )
    clock.now_s += 1
    source.error = None
    assert text(await credentials.token()) == "token-2"


@pytest.mark.requirement("R48")
async def test_a_replaced_secret_is_tried_at_once(
    credentials: RenewingCredentials, source: SteeredSource, clock: Clock
) -> None:
    """Without waiting for auth_retry_s, and without a restart."""
    source.error = AuthError("invalid_client")
    await refused(credentials)
    clock.now_s += 1
    source.error, source.changed = None, True
    assert text(await credentials.token()) == "token-2"


async def test_a_refusal_does_not_take_away_a_token_that_lives(
    credentials: RenewingCredentials, source: SteeredSource, clock: Clock
) -> None:
    """A secret that expired: calls go on until the token's end, the trouble is told at once."""
    await credentials.token()
    source.error = AuthError("invalid_client", aadsts=7000222)
    clock.now_s += 3550
    assert text(await credentials.token()) == "token-1"
    assert isinstance(credentials.trouble, AuthError)
    clock.now_s += 60
    await refused(credentials)


async def test_an_invalidated_token_is_given_to_nobody(
    credentials: RenewingCredentials, source: SteeredSource
) -> None:
    """After a 401; a second invalidation of the same one does not harm the new one."""
    old = await credentials.token()
    credentials.invalidate(old)
    new = await credentials.token()
    credentials.invalidate(old)
    assert [text(old), text(new), text(await credentials.token())] == [
        "token-1",
        "token-2",
        "token-2",
    ]
    assert source.fetches == 2


async def test_a_token_that_is_over_before_its_use_is_none(clock: Clock) -> None:
    """A clock that jumps while the caller waits: postponed, not used."""

    class Slow(SteeredSource):
        async def fetch(self):  # type: ignore[no-untyped-def] # noqa: ANN202
            grant = await super().fetch()
            asyncio.get_running_loop().call_soon(
                lambda: setattr(clock, "now_s", clock.now_s + 7200)
            )
            return grant

    credentials = RenewingCredentials(Slow(), monotonic=clock)
    assert (await unavailable(credentials)).retry_after_s == 1.0


async def test_a_cancelled_caller_leaves_the_renewal_to_the_others(
    credentials: RenewingCredentials, source: SteeredSource
) -> None:
    """The fetch belongs to nobody."""
    source.gate = asyncio.Event()
    first, second = (
        asyncio.create_task(credentials.token()),
        asyncio.create_task(credentials.token()),
    )
    await settled(lambda: source.fetches == 1)
    first.cancel()
    source.gate.set()
    assert text(await second) == "token-1"
    assert first.cancelled()


async def test_closing_stops_a_renewal(
    credentials: RenewingCredentials, source: SteeredSource
) -> None:
    """With one under way, and with none."""
    await credentials.aclose()
    source.gate = asyncio.Event()
    caller = asyncio.create_task(credentials.token())
    await settled(lambda: source.fetches == 1)
    await credentials.aclose()
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_a_bug_in_a_source_is_no_trouble_of_the_endpoint(
    credentials: RenewingCredentials, source: SteeredSource
) -> None:
    """It reaches the caller as what it is."""
    source.error = ZeroDivisionError("bug")
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    with pytest.raises(ZeroDivisionError):
        await credentials.token()


@pytest.mark.requirement("R45")
async def test_no_token_shows_in_what_is_printed(
    credentials: RenewingCredentials, source: SteeredSource, clock: Clock
) -> None:
    """Not in repr, not in str, not in a traceback."""
    token = await credentials.token()
    credentials.invalidate(token)
    source.error = AuthError("invalid_client", aadsts=7000215)
    error = await refused(credentials)
    printed = (
        f"{token!r} {token} {credentials.__dict__!r} {error!r}"
        f" {''.join(traceback.format_exception(error))} {clock}"
    )
    assert "token-1" not in printed
    assert token.authorization == "Bearer token-1"


@pytest.mark.requirement("R62")
async def test_an_old_grant_proves_nothing_of_the_credentials(
    credentials: RenewingCredentials, source: SteeredSource, clock: Clock
) -> None:
    """A refusal is told, though the token in use lives on."""
    await credentials.prove(300)
    await credentials.prove(300)
    assert source.fetches == 1
    clock.now_s += 300
    await credentials.prove(300)
    assert source.fetches == 2
    clock.now_s += 300
    source.error = AuthError("invalid_client")
    with pytest.raises(AuthError, match="invalid_client"):
        await credentials.prove(300)
    assert text(await credentials.token()) == "token-2"


@pytest.mark.requirement("R62")
async def test_credentials_that_are_replaced_while_they_are_on_their_way_are_asked_with_again(
    credentials: RenewingCredentials, source: SteeredSource
) -> None:
    """Read, replaced, taken away at Entra, and only then arrived: no refusal that a halt would
    follow.
    """
    source.gate, source.error = asyncio.Event(), AuthError("invalid_client")
    asked = asyncio.create_task(credentials.token())
    await settled(lambda: source.fetches == 1)
    source.changed = True
    gate, fetch = source.gate, source.fetch

    async def fetch_with_the_new_one() -> Grant:
        source.error = None
        return await fetch()

    source.fetch = fetch_with_the_new_one  # type: ignore[method-assign]
    gate.set()
    assert text(await asked) == "token-2"
    assert credentials.trouble is None
