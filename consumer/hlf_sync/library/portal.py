"""The library: for other Python code that wants a mentor's listing brought up to date now, and to
know what came of it (requirements R20, R21, R28).

    async with open_portal() as portal:
        update = await portal.remove_mentor(mentor_id)

The facts in PostgreSQL rule here as everywhere: what they do not ask for is not called, and the
answer says so (docs/library.md). Beside running workers no call overlaps another: ledger, lease,
circuit and halts are the fleet's. It must not be used to decide anything.
"""

import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

from hlf_sync import clients
from hlf_sync.config import policies
from hlf_sync.config.settings import Settings, load
from hlf_sync.config.settings import secret_file as file_of
from hlf_sync.core.breaker import BreakerPolicy, State
from hlf_sync.core.decide import Rules
from hlf_sync.core.model import ErrorCode, HaltReason, MentorId, Operation
from hlf_sync.core.pacing import Pacing
from hlf_sync.dynamics.client import DynamicsClient
from hlf_sync.errors import (
    ContractError,
    DependencyError,
    DynamicsError,
    MentorMappingError,
    SettingsError,
)
from hlf_sync.library.direct_delivery import DirectDelivery, DirectPolicy, Ended
from hlf_sync.library.direct_delivery import DirectOutcome as Outcome
from hlf_sync.pipeline.call import Call, CallPolicy
from hlf_sync.pipeline.gate import Gate
from hlf_sync.pipeline.meter import NoMeter
from hlf_sync.pipeline.patience import Dependencies
from hlf_sync.pipeline.tracer import NoTracer
from hlf_sync.postgres.connections import Pool, connect, open_pool
from hlf_sync.postgres.facts import FactsView
from hlf_sync.postgres.fleet_state import FleetTable

# The public names of the library, as `hlf_sync` has them.
__all__ = [
    "CircuitState",
    "ContractError",
    "DependencyError",
    "DynamicsError",
    "ErrorCode",
    "HaltReason",
    "MentorMappingError",
    "Outcome",
    "PortalVisibility",
    "SettingsError",
    "State",
    "VisibilityUpdate",
    "open_portal",
]

# Of the fleet's pace, on top of it: together 95 % of what Dynamics allows by default. One process
# at a time is meant to call.
_SHARE = 0.05
_POOL_SIZE = 2


@dataclass(frozen=True, slots=True)
class VisibilityUpdate:
    """What came of one request. `reason` is the decision's word (`paused`, `in_sync` …), or what
    stood in the way (`circuit`, `busy` …).

    The last four are None where nothing was called. `correlation_id` is what Dynamics' operators
    find the request by.
    """

    mentor_id: str
    visible: bool
    outcome: Outcome
    reason: str
    attempt_number: int | None = None
    http_status: int | None = None
    correlation_id: str | None = None
    duration_ms: int | None = None

    @property
    def is_reflected(self) -> bool:
        """Whether Dynamics shows now what was asked for."""
        return self.outcome in {Outcome.APPLIED, Outcome.UNCHANGED}


@dataclass(frozen=True, slots=True)
class CircuitState:
    """The circuit that the whole fleet shares (R29), and what halts besides it. Times are epoch
    seconds by PostgreSQL's clock.

    `calls_again_at_s` is when the next call may start at the earliest, None when one may start now.
    """

    state: State
    opened_at_s: float | None
    failure_count: int
    last_error_code: str | None
    calls_again_at_s: float | None
    halted: frozenset[HaltReason]


class PortalVisibility:
    """The service. Open it with `open_portal`; one for all tasks of an event loop."""

    def __init__(self, direct: DirectDelivery, fleet: FleetTable, breaker: BreakerPolicy) -> None:
        self._direct, self._fleet, self._breaker = direct, fleet, breaker

    async def remove_mentor(self, mentor_id: str | UUID) -> VisibilityUpdate:
        """Take the mentor off the public listing; as
        `update_portal_visibility(mentor_id, False)`.
        """
        return await self.update_portal_visibility(mentor_id, visible=False)

    async def restore_mentor(self, mentor_id: str | UUID) -> VisibilityUpdate:
        """Put the mentor back on the public listing; as `update_portal_visibility(mentor_id,
        True)`.
        """
        return await self.update_portal_visibility(mentor_id, visible=True)

    async def update_portal_visibility(
        self, mentor_id: str | UUID, visible: bool
    ) -> VisibilityUpdate:
        """Bring the listing to this, if the facts ask for it: one attempt now, and if that fails
        the workers go on.

        Raises ValueError for what is not a UUID, `MentorMappingError` for a mentor without a contact,
        `ContractError` for facts outside the contract, `DynamicsError` with its `code` when the
        call was not a success, `DependencyError` when PostgreSQL does not answer.
        """
        known_id = MentorId(str(UUID(str(mentor_id))))
        ended = await self._direct.bring(
            known_id, Operation.RESTORE if visible else Operation.REMOVE
        )
        return _update(visible, ended)

    async def get_circuit_state(self) -> CircuitState:
        """What the fleet's circuit is now, read from PostgreSQL; raises `DependencyError`."""
        found = await self._fleet.read()
        circuit = found.circuit
        cool_s = (
            circuit.opened_at_s + self._breaker.cool_down_s
            if circuit.state is State.OPEN and circuit.opened_at_s is not None
            else 0.0
        )
        again_s = max(cool_s, circuit.retry_after_until_s or 0.0, circuit.probe_until_s or 0.0)
        return CircuitState(
            circuit.state,
            circuit.opened_at_s,
            circuit.failure_count,
            circuit.last_error_code,
            again_s if again_s > found.now_s else None,
            found.halts,
        )


@asynccontextmanager
async def open_portal(
    settings: Settings | None = None, *, env_file: Path | None = None
) -> AsyncIterator[PortalVisibility]:
    """The service with connections of its own, closed at the block's end. Settings as a worker's:
    from the environment, then `env_file` or `.env`.

    Raises `SettingsError` for what is missing or wrong, `DependencyError` when PostgreSQL does not
    answer.
    """
    secret_file = file_of("dynamics_client_secret", env_file) if settings is None else None
    settings = load(env_file) if settings is None else settings
    settings.require("postgres_dsn", "dynamics_base_url", *settings.credential_names)
    async with AsyncExitStack() as stack:
        pool = await _open_pool(settings, stack)
        dynamics = _open_dynamics(settings, secret_file)
        stack.push_async_callback(dynamics.aclose)
        yield _assemble(settings, pool, dynamics)


async def _open_pool(settings: Settings, stack: AsyncExitStack) -> Pool:
    dsn = partial(settings.secret, "postgres_dsn")
    async with await connect(
        dsn
    ):  # a refusal is said at once; the pool would keep it to itself until its time-out
        pass
    pool = open_pool(dsn, size=_POOL_SIZE)
    stack.push_async_callback(pool.close)
    await pool.open(wait=False)
    await FactsView(pool).ping()
    return pool


def _open_dynamics(settings: Settings, secret_file: Path | None) -> DynamicsClient:
    transport = clients.open_dynamics_transport(settings, 1)
    return clients.dynamics_client(
        settings, clients.dynamics_credentials(settings, secret_file, transport), transport
    )


def _assemble(settings: Settings, pool: Pool, dynamics: DynamicsClient) -> PortalVisibility:
    breaker = policies.breaker_policy(settings)
    retry, rules = policies.retry_policy(settings), Rules(organization=settings.organization)
    fleet = FleetTable(pool, settings.organization, breaker)
    gate, pacing = (
        Gate(fleet, breaker, Dependencies()),
        Pacing(policies.pacing_policy(settings), _SHARE),
    )
    owner = f"library-{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
    call = Call(
        dynamics=dynamics,
        gate=gate,
        pacing=pacing,
        meter=NoMeter(),
        policy=CallPolicy(rules, retry, settings.request_timeout_s),
        random=random.random,
        tracer=NoTracer(),
    )
    direct = DirectDelivery(
        pool=pool,
        facts=FactsView(pool),
        gate=gate,
        call=call,
        pacing=pacing,
        policy=DirectPolicy(
            rules,
            retry.max_attempts,
            settings.delivery == "shadow",
            policies.ledger_policy(settings, owner),
        ),
    )
    return PortalVisibility(direct, fleet, breaker)


def _update(visible: bool, ended: Ended) -> VisibilityUpdate:
    evaluation, result = ended.evaluation, ended.evaluation.result
    if result is None:
        return VisibilityUpdate(evaluation.mentor_id, visible, ended.outcome, ended.reason)
    return VisibilityUpdate(
        evaluation.mentor_id,
        visible,
        ended.outcome,
        ended.reason,
        evaluation.claimed.attempt_number,
        result.http_status,
        result.correlation_id,
        result.duration_ms,
    )
