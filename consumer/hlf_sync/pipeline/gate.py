"""May a call start now? This worker's view of what the fleet shares (circuit, halts), kept fresh,
and every change it makes to it.

The shared state lives in PostgreSQL; `watch` reads it at each notification and at least every 250
ms. Called by delivery, recording and the status page. Decides nothing itself: core/breaker does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog

from hlf_sync.core.breaker import (
    Admission,
    BreakerPolicy,
    State,
    Wait,
    admit,
    choose,
    counts_attempt,
    probe_at_s,
)
from hlf_sync.core.halts import HALTS, STOP_ALL
from hlf_sync.core.model import HaltReason, MentorId
from hlf_sync.core.verdict import Course, Verdict
from hlf_sync.pipeline.patience import Dependencies, patiently
from hlf_sync.ports import Fleet, FleetPort

_log = structlog.get_logger()

# When Dynamics throttles without saying for how long.
_PAUSE_S = 5.0
# How long a closed gate is looked at at least once, whatever was or was not heard.
_LOOK_S = 5.0

# A reading that much older than the last is not a straggler: the database's clock was set back.
_OUT_OF_ORDER_S = 5.0


class Gate:
    """The fleet's circuit and halts as last read, and the way to change them."""

    def __init__(
        self,
        fleet: FleetPort,
        policy: BreakerPolicy,
        dependencies: Dependencies,
        *,
        auth_retry_s: float = 30.0,
    ) -> None:
        self._fleet = fleet
        self._policy = policy
        self._dependencies = dependencies
        self._auth_retry_s = auth_retry_s
        self._proof: str | None = None
        self.is_aside = False  # this worker's credentials alone are refused: it calls nobody
        self._details: dict[HaltReason, str] = {}
        self._changed = asyncio.Event()
        self._last: Fleet | None = None
        self._read_at_s = 0.0
        self.lifted: list[Callable[[HaltReason], None]] = []

    @property
    def fleet(self) -> Fleet | None:
        """What was last read; None before the first reading."""
        return self._last

    @property
    def next_probe_s(self) -> float | None:
        """In how many seconds an open circuit lets a probe through; None while it is closed."""
        fleet = self._last
        if fleet is None or fleet.circuit.state is State.CLOSED:
            return None
        found = admit(fleet.circuit, self._policy, self.database_now_s)
        return max(0.0, found.until_s - self.database_now_s) if isinstance(found, Wait) else 0.0

    @property
    def database_now_s(self) -> float:
        """PostgreSQL's clock, carried on by our monotonic one since the last reading."""
        return (
            (self._last.now_s if self._last else 0.0)
            + asyncio.get_running_loop().time()
            - self._read_at_s
        )

    def is_halted(self, reason: HaltReason) -> bool:
        """Whether this halt holds."""
        return self._last is not None and reason in self._last.halts

    def admission(self) -> Admission | None:
        """What the breaker says to a call now; None while a halt stops all calls or the state is
        not known yet.
        """
        if self._last is None or self._last.halts & STOP_ALL or self.is_aside:
            return None
        return admit(self._last.circuit, self._policy, self.database_now_s)

    def needs_proof(self) -> bool:
        """Whether calls stop for one reason only: Dynamics itself refused them. Then one probing
        request finds out whether it still refuses.
        """
        fleet = self._last
        return (
            fleet is not None
            and not self.is_aside
            and fleet.halts & STOP_ALL == {HaltReason.AUTH}
            and fleet.auth_probe_after_s is not None
            and not isinstance(admit(fleet.circuit, self._policy, self.database_now_s), Wait)
        )

    def proof_in_s(self, *, is_suspect: bool) -> float:
        """In how many seconds the probing request may be made; for a mentor that was refused
        itself, not before the halt is `HLF_SYNC_AUTH_RETRY_S` old.
        """
        fleet = self._last
        if fleet is None or fleet.auth_probe_after_s is None:
            return _LOOK_S
        since_s = (fleet.auth_since_s or 0.0) + self._auth_retry_s if is_suspect else 0.0
        return max(0.0, max(fleet.auth_probe_after_s, since_s) - self.database_now_s)

    async def take_proof(self, proof: str, mentor_id: MentorId | None) -> bool:
        """Become the one probing request of the fleet; while the circuit is not closed, its probe
        too.
        """
        if not await patiently(
            self._dependencies, "PostgreSQL", lambda: self._fleet.take_proof(self._auth_retry_s)
        ):
            await self.refresh()
            return False
        is_closed = self._last is None or self._last.circuit.state is State.CLOSED
        if not is_closed and mentor_id is not None and not await self.take_probe(proof, mentor_id):
            return False
        self._proof = proof
        await self.refresh()
        return True

    def is_proof(self, probe: str | None) -> bool:
        """Whether this call is the probing request, and nothing but the refusal stands against
        it.
        """
        return probe is not None and probe == self._proof and self.needs_proof_or_is_probe(probe)

    def needs_proof_or_is_probe(self, probe: str) -> bool:
        """The halt still needs it; where the circuit is half-open, it is the probe as well."""
        fleet = self._last
        return fleet is not None and (
            self.needs_proof()
            or (fleet.halts & STOP_ALL == {HaltReason.AUTH} and fleet.circuit.probe_owner == probe)
        )

    @property
    def auth_since_s(self) -> float | None:
        """Since when the credentials' halt holds (PostgreSQL's clock)."""
        return None if self._last is None else self._last.auth_since_s

    @property
    def auth_needs_probe(self) -> bool:
        """Whether that halt is lifted by a probing request, not by a token."""
        return self._last is not None and self._last.auth_probe_after_s is not None

    @property
    def proof_overdue_s(self) -> float:
        """For how long the probing request could have been made."""
        after_s = None if self._last is None else self._last.auth_probe_after_s
        return 0.0 if after_s is None else self.database_now_s - after_s

    def was_proved_since(self, at_s: float) -> bool:
        """Whether Dynamics has accepted a probing request since (PostgreSQL's clock)."""
        return self._last is not None and (self._last.proved_at_s or 0.0) > at_s

    def was_accepted_since(self, at_s: float) -> bool:
        """Whether some worker's credentials have lifted a halt since (PostgreSQL's clock)."""
        return self._last is not None and (self._last.accepted_at_s or 0.0) > at_s

    async def accepted(self) -> None:
        """This worker's credentials are accepted."""
        await self._change(self._fleet.accepted)

    async def proved(self) -> None:
        """Dynamics accepted the probing request."""
        await self._change(self._fleet.proved)

    def wait_s(self, admission: Admission | None) -> float:
        """How long to wait before asking again, unless something changes earlier."""
        if not isinstance(admission, Wait):
            return _LOOK_S
        return max(0.01, min(_LOOK_S, admission.until_s - self.database_now_s))

    def counts_attempt(self, probe: str | None) -> bool:
        """Whether a failure now counts as an attempt of its mentor, or is the outage's."""
        return self._last is None or counts_attempt(self._last.circuit, probe)

    async def changed(self, timeout_s: float) -> None:
        """Wait until the shared state changed, or for `timeout_s`."""
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return

    async def refresh(self) -> None:
        """Read the shared state now."""
        self._take(await patiently(self._dependencies, "PostgreSQL", self._fleet.read))

    async def watch(self, notified: Callable[[], Awaitable[None]]) -> None:
        """Keep the view fresh for ever; `notified` returns when somebody changed the state, or
        after a short while.
        """
        while True:
            await self.refresh()
            await patiently(self._dependencies, "PostgreSQL", notified)

    def choose_probe(self, waiting: Iterable[MentorId]) -> tuple[MentorId | None, float]:
        """Who of those that wait here (oldest first) is to be the probe, and in how many seconds:
        a suspect gives way to whom another worker may have.
        """
        mentor_id = None if self._last is None else choose(self._last.circuit, waiting)
        if self._last is None or mentor_id is None:
            return None, _LOOK_S
        at_s = probe_at_s(self._last.circuit, self._policy, mentor_id)
        return mentor_id, max(0.0, at_s - self.database_now_s)

    async def take_probe(self, probe: str, mentor_id: MentorId) -> bool:
        """Become the one probe of the fleet with a call for this mentor, if nobody is."""
        return (
            await self._change(lambda: self._fleet.take_probe(probe, mentor_id))
        ).circuit.probe_owner == probe

    async def abandon(self, probe: str | None) -> None:
        """If this was the probe, it came to no judgement."""
        if probe is not None:
            await self._change(lambda: self._fleet.abandoned(probe))

    async def note(
        self,
        verdict: Verdict,
        *,
        probe: str | None,
        started_s: float,
        mentor_id: MentorId,
        is_answered: bool = True,
    ) -> None:
        """Tell the fleet what an answer to a call for this mentor means for everybody.
        `is_answered`: it is one of Dynamics itself, not of the token service.
        """
        code = verdict.error_code.value if verdict.error_code else ""
        if verdict.is_breaker_failure:
            await self._change(
                lambda: self._fleet.failed(probe, started_s, code, verdict.retry_after_s, mentor_id)
            )
        elif verdict.course is Course.THROTTLED:
            pause_s = _PAUSE_S if verdict.retry_after_s is None else verdict.retry_after_s
            await self._change(lambda: self._fleet.throttled(pause_s, probe))
        elif verdict.course is Course.HALT and self.is_aside and not is_answered:
            await self.abandon(probe)
        elif verdict.course is Course.HALT:
            # Without a token nothing was asked of Dynamics: then a token lifts it.
            await self.halt(HaltReason.AUTH, code, needs_probe=is_answered)
            await self.abandon(probe)
        elif verdict.is_breaker_success and self.is_proof(probe):
            await self.proved()
            await self._change(lambda: self._fleet.succeeded(probe, started_s))
        elif not verdict.is_breaker_success:
            await self.abandon(probe)
        elif probe is not None or (self._last is not None and self._last.circuit.failure_count):
            await self._change(lambda: self._fleet.succeeded(probe, started_s))

    async def halt(self, reason: HaltReason, detail: str, *, needs_probe: bool = False) -> None:
        """Stop calls for everybody, with an alert."""
        self._details[reason] = detail
        await self._change(lambda: self._fleet.halt(reason, detail, needs_probe=needs_probe))

    async def lift(self, reason: HaltReason) -> None:
        """The reason is gone."""
        await self._change(lambda: self._fleet.lift(reason))

    async def _change(self, change: Callable[[], Awaitable[Fleet]]) -> Fleet:
        changed = await patiently(self._dependencies, "PostgreSQL", change)
        self._take(changed)
        return changed

    def _take(self, fleet: Fleet) -> None:
        before = self._last
        if before is not None and before.now_s - _OUT_OF_ORDER_S < fleet.now_s < before.now_s:
            # two connections answered out of order: an older reading would lift what was halted
            # since
            return
        self._last = fleet
        self._read_at_s = asyncio.get_running_loop().time()
        if before is None or (before.circuit, before.halts) != (fleet.circuit, fleet.halts):
            self._changed.set()
            self._tell(before, fleet)

    def _tell(self, before: Fleet | None, fleet: Fleet) -> None:
        for reason in fleet.halts - (before.halts if before else frozenset()):
            _log.error(  # once, whoever of us or of others halted
                "halted",
                reason=reason.value,
                detail=self._details.get(reason, ""),
                advice=HALTS[reason].advice,
            )
        for reason in (before.halts if before else frozenset()) - fleet.halts:
            _log.info("halt_lifted", reason=reason.value)
            for listener in self.lifted:
                listener(reason)
        old, new = before.circuit.state if before else State.CLOSED, fleet.circuit
        if old is not new.state:
            tell = _log.warning if new.state is State.OPEN else _log.info
            tell(
                f"circuit_{new.state.value}",
                opened_at=new.opened_at_s,
                failure_count=new.failure_count,
                last_error_code=new.last_error_code,
            )
