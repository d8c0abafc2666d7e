"""From a first look to a call: claim the mentor, read its facts once more, and start the call when
pace and breaker admit it; then its letter, and its record.

Why twice: a claim keeps every other worker away from the mentor; facts read *after* it are at least
as new as whatever anybody else has decided on. The sequence that one look would get wrong is told
in docs/adr/0002-ledger.md. Claims run a little ahead of the calls, so that a call never waits for a
claim; breaker and halts are asked again right before each call.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf
from uuid import uuid4

import structlog

from hlf_sync.core.breaker import Go, Probe
from hlf_sync.core.decide import Rules
from hlf_sync.core.evaluation import Evaluation, Reading
from hlf_sync.core.model import HaltReason, Operation
from hlf_sync.core.outcome import RELEASED, Claimed
from hlf_sync.core.pacing import Pacing
from hlf_sync.pipeline.call import Call
from hlf_sync.pipeline.completion import Completion
from hlf_sync.pipeline.dead_letters import DeadLetters
from hlf_sync.pipeline.errands import Errands
from hlf_sync.pipeline.gate import Gate
from hlf_sync.pipeline.patience import Dependencies, patiently
from hlf_sync.pipeline.recording import Recording
from hlf_sync.pipeline.tracer import Tracer
from hlf_sync.ports import FactsPort, LedgerPort

_log = structlog.get_logger()

_CLAIM_BATCH = 200
# Claims ahead of the calls: as many as the pace lets through in this time, seconds. A longer time
# would only let leases run. And at most so many per simultaneous call: a fast Dynamics needs them, so
# that each statement claims many mentors.
_AHEAD_S, _AHEAD_CALLS = 0.25, 4
# At a slow pace too, a claim must be ready when its call's turn comes: else a slow PostgreSQL sets
# the pace, and no lost time is ever caught up.
_LEAST_AHEAD = 4
_IDLE_S = 60.0
_HELD_LOOK_S = 1.0
_SOON_S = 0.01


class Delivery:
    """Takes from screening the mentors that need a call, oldest first, and brings them to Dynamics."""

    def __init__(
        self,
        *,
        facts: FactsPort,
        ledger: LedgerPort,
        gate: Gate,
        pacing: Pacing,
        call: Call,
        letters: DeadLetters,
        recording: Recording,
        completion: Completion,
        dependencies: Dependencies,
        rules: Rules,
        lease_s: float,
        tracer: Tracer,
    ) -> None:
        self._facts = facts
        self._ledger = ledger
        self._gate = gate
        self._pacing = pacing
        self._call = call
        self._letters = letters
        self._recording = recording
        self._completion = completion
        self._dependencies = dependencies
        self._rules = rules
        self._lease_s = lease_s
        self._tracer = tracer
        self._waiting: list[Evaluation] = []
        self._held_back: list[Evaluation] = []  # removals that wait for an operator's word
        self._claimed: deque[Evaluation] = deque()
        self._claiming = 0
        self._is_open = False  # calls are being started
        self._half = 0  # what may be claimed ahead before the next claims are due
        self._errands = Errands(self._ended)
        self._claim_waits = asyncio.Event()
        self._call_waits = asyncio.Event()
        self.held_changes = (
            0  # of mentors whose removal waits for an operator's word, as counted at the last turn
        )
        self.is_stopping = False
        gate.lifted.append(self._lifted)

    def put(self, evaluation: Evaluation) -> None:
        """A mentor that needs a call."""
        heappush(self._waiting, evaluation)
        self._claim_waits.set()

    @property
    def waiting(self) -> int:
        """Mentors that need a call and have not been claimed."""
        return len(self._waiting) + len(self._held_back)

    @property
    def under_way(self) -> int:
        """Claims and calls that have not ended."""
        return len(self._errands) + len(self._claimed)

    def drop(self, is_ours: Callable[[Evaluation], bool]) -> None:
        """Forget mentors whose partition was revoked; what was claimed for them, and waits for its
        turn, is given back: whoever has the partition now need not wait for our lease, and no
        attempt is counted.
        """
        for waiting in (self._waiting, self._held_back):
            gone = [evaluation for evaluation in waiting if not is_ours(evaluation)]
            waiting[:] = [evaluation for evaluation in waiting if is_ours(evaluation)]
            for evaluation in gone:
                self._completion.requeue(evaluation)
        heapify(self._waiting)
        claimed, self._claimed = self._claimed, deque()
        for evaluation in claimed:
            if is_ours(evaluation):
                self._claimed.append(evaluation)
            else:
                self._release(evaluation)

    async def claim(self) -> None:
        """Claim a little ahead of the calls, for ever."""
        while True:
            await self._hold_back_removals()
            room = self._room()
            admission = self._gate.admission()
            if self.is_stopping or not self._waiting or room <= 0:
                await _woken(self._claim_waits, _HELD_LOOK_S if self._held_back else _IDLE_S)
            elif isinstance(admission, Go):
                self._claim_soon(
                    [
                        heappop(self._waiting)
                        for _ in range(min(room, len(self._waiting), _CLAIM_BATCH))
                    ],
                    None,
                )
            elif isinstance(admission, Probe) and not self._claiming and not self._claimed:
                await self._probe()
            elif self._gate.needs_proof() and not self._claiming and not self._claimed:
                await self._prove()
            else:
                await self._gate.changed(self._gate.wait_s(admission))

    async def start(self) -> None:
        """Start the calls of what is claimed, as pace and concurrency admit, for ever."""
        self._is_open = True
        try:
            while True:
                wait_s = self._start_calls()
                await _woken(self._call_waits, _IDLE_S if wait_s is None else min(wait_s, 1.0))
        finally:
            self._is_open = False

    def _start_calls(self) -> float | None:
        """Start what may start now. How long the next one must wait (infinity: until a call ends);
        None where nothing is claimed.
        """
        now_s = asyncio.get_running_loop().time()
        while self._claimed:
            wait_s = 0.0 if self.is_stopping else self._pacing.admit(now_s)
            if wait_s == 0.0:
                self._start(self._claimed.popleft(), now_s)
            elif self._is_shut_for(self._claimed[0]) or (
                wait_s > self._lease_s and not self._pacing.in_flight
            ):  # else a call's end makes room
                self._release(self._claimed.popleft())
            else:
                return wait_s
        return None

    def _room(self) -> int:
        """How many to claim now. Nothing until half of what may run ahead is used up, so that
        statements are few and full.
        """
        rate, slots = self._pacing.pace(asyncio.get_running_loop().time())
        most = (
            0 if slots == 0 else min(_AHEAD_CALLS * slots, max(_LEAST_AHEAD, int(rate * _AHEAD_S)))
        )
        ahead, self._half = self._claiming + len(self._claimed), most // 2
        return most - ahead if ahead <= self._half else 0

    def _is_shut_for(self, evaluation: Evaluation) -> bool:
        is_open = isinstance(self._gate.admission(), Go | Probe)
        return not is_open and not self._gate.is_proof(evaluation.probe)

    def _claim_alone(self, evaluation: Evaluation, probe: str) -> None:
        self._waiting.remove(evaluation)
        heapify(self._waiting)
        self._claim_soon([evaluation], probe)

    def _claim_soon(self, evaluations: list[Evaluation], probe: str | None) -> None:
        self._claiming += len(evaluations)
        self._errands.start(self._claim(evaluations, probe))

    async def _probe(self) -> None:
        """Take the one probe for whose turn it is; it may come back, or go, while that is asked."""
        mentor_id, wait_s = self._gate.choose_probe(
            evaluation.mentor_id for evaluation in sorted(self._waiting)
        )
        if mentor_id is None or wait_s > 0.0:
            await self._gate.changed(max(_SOON_S, min(wait_s, _HELD_LOOK_S)))
            return
        probe = str(uuid4())
        if not await self._gate.take_probe(probe, mentor_id):
            await self._gate.changed(_SOON_S)
            return
        chosen = next((one for one in self._waiting if one.mentor_id == mentor_id), None)
        if chosen is None:
            await self._gate.abandon(probe)
        else:
            self._claim_alone(chosen, probe)

    async def _prove(self) -> None:
        """Make the one request that tells whether Dynamics still refuses us: of the oldest mentor
        that it was not refused for; where all were, of the oldest, in its time.
        """
        is_suspect = self._call.is_suspect
        chosen = min(self._waiting, key=lambda one: (is_suspect(one.mentor_id), one.arrived))
        wait_s = self._gate.proof_in_s(is_suspect=is_suspect(chosen.mentor_id))
        proof = str(uuid4())
        if wait_s > 0.0:
            await self._gate.changed(max(_SOON_S, min(wait_s, _HELD_LOOK_S)))
        elif await self._gate.take_proof(proof, chosen.mentor_id) and chosen in self._waiting:
            self._claim_alone(chosen, proof)

    async def _hold_back_removals(self) -> None:
        if not self._gate.is_halted(HaltReason.MASS_REMOVAL):
            self.held_changes = 0
            return
        for evaluation in self._held_back:
            if evaluation.newer:  # facts may have changed: perhaps it need not wait any more
                self._completion.requeue(evaluation)
        held = [one for one in self._waiting if one.operation is Operation.REMOVE]
        self._held_back = [one for one in self._held_back if one.in_progress] + held
        self.held_changes = sum(len(evaluation.changes) for evaluation in self._held_back)
        if held:
            self._waiting = [one for one in self._waiting if one.operation is not Operation.REMOVE]
            heapify(self._waiting)
            mentor_ids = [evaluation.mentor_id for evaluation in held]
            await patiently(
                self._dependencies, "PostgreSQL", lambda: self._ledger.hold_removals(mentor_ids)
            )

    def _lifted(self, reason: HaltReason) -> None:
        if reason is HaltReason.MASS_REMOVAL:
            for evaluation in self._held_back:
                heappush(self._waiting, evaluation)
            self._held_back.clear()
        self._claim_waits.set()

    async def _claim(self, evaluations: list[Evaluation], probe: str | None) -> None:
        deadline_s = asyncio.get_running_loop().time() + self._lease_s
        began_ns = self._tracer.now_ns()
        for evaluation in evaluations:
            evaluation.trace_parent = self._tracer.trace_parent(evaluation.mentor_id)
        claimed = await patiently(
            self._dependencies, "PostgreSQL", lambda: self._ledger.claim(evaluations)
        )
        ours = [evaluation for evaluation in evaluations if evaluation.mentor_id in claimed]
        if len(ours) < len(evaluations):
            await self._gate.refresh()  # the mass change guard may have held them back
            for evaluation in evaluations:
                if evaluation.mentor_id not in claimed:
                    self._completion.requeue(evaluation)
        if ours:
            mentor_ids = [evaluation.mentor_id for evaluation in ours]
            reading = await patiently(
                self._dependencies, "PostgreSQL", lambda: self._facts.read(mentor_ids)
            )
            for evaluation in ours:
                evaluation.deadline_s, evaluation.probe = deadline_s, probe
                self._look(evaluation, claimed[evaluation.mentor_id], reading, began_ns)
        else:
            await self._gate.abandon(probe)
        self._claiming -= len(evaluations)
        self._call_waits.set()

    def _look(
        self, evaluation: Evaluation, claimed: Claimed, reading: Reading, began_ns: int
    ) -> None:
        """The look that counts: does what was decided still hold on facts read under the claim?"""
        evaluation.claimed = claimed
        self._tracer.claimed(evaluation, began_ns)
        if evaluation.confirm(reading, self._rules):
            self._claimed.append(evaluation)
        else:
            self._release(evaluation)

    def _start(self, evaluation: Evaluation, now_s: float) -> None:
        """A claim waited for its turn; meanwhile the circuit may have opened, a halt come, or the
        lease run low.
        """
        admission, probe = self._gate.admission(), evaluation.probe
        is_admitted = (
            isinstance(admission, Go)
            or (probe is not None and admission is not None)
            or self._gate.is_proof(probe)
        )
        if self.is_stopping or not is_admitted or not self._call.fits(evaluation, now_s):
            if not self.is_stopping:
                self._pacing.hand_back()
            self._release(evaluation)
        else:
            self._errands.start(self._deliver(evaluation))

    async def _deliver(self, evaluation: Evaluation) -> None:
        """Each step of a call, one after the other."""
        await self._call.ask(evaluation)
        await self._call.tell(evaluation)
        await self._letters.after_call(evaluation)
        _log_failure(evaluation)
        self._recording.put(evaluation)

    def _release(self, evaluation: Evaluation) -> None:
        """Give the claim back without a call. There is room for another."""
        self._claim_waits.set()
        evaluation.conclusion = RELEASED
        self._recording.put(evaluation)
        if evaluation.probe is not None:
            self._errands.start(self._gate.abandon(evaluation.probe))

    def _ended(self) -> None:
        """After each claim and each call. Its successor starts here and now; the two loops are woken
        only where they have something to do: a turn of theirs costs as much as a tenth of a call.
        """
        wait_s = self._start_calls() if self._is_open else None
        if wait_s is not None and wait_s < inf:
            self._call_waits.set()
        is_due = self._claiming + len(self._claimed) <= self._half
        if (self._waiting and is_due) or self._held_back:
            self._claim_waits.set()


async def _woken(event: asyncio.Event, timeout_s: float) -> None:
    """Wait for what sets the event from now on, or for the time."""
    event.clear()
    try:
        async with asyncio.timeout(None if timeout_s == inf else timeout_s):
            await event.wait()
    except TimeoutError:
        return


def _log_failure(evaluation: Evaluation) -> None:
    conclusion, result = evaluation.conclusion, evaluation.result
    if conclusion.error_code is None or result is None:
        return  # recording says it, once it is durable
    _log.warning(
        "retry" if conclusion.letter is None else "given_up",
        mentor_id=evaluation.mentor_id,
        certification_id=evaluation.certification_id,
        operation_type=evaluation.operation.value,
        attempt_number=evaluation.claimed.attempt_number,
        correlation_id=result.correlation_id,
        duration_ms=result.duration_ms,
        error_code=conclusion.error_code.value,
        http_status=result.http_status,
        delay_ms=None if conclusion.retry_in_s is None else int(conclusion.retry_in_s * 1000),
    )
