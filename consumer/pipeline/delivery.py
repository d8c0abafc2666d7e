"""The second look and the call: claim the mentor, read its facts once more, ask Dynamics, and hand the outcome to recording.

Why twice: a claim keeps every other worker away from the mentor; facts read *after* it are at least as new as whatever anybody else has
decided on. Sequence that one look would get wrong: docs/adr/0002-ledger.md. Breaker, halts and pacing stand before the claim and again
before the call.
"""

import asyncio
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Protocol

import structlog

from consumer.core.breaker import Admission, Go, Probe
from consumer.core.decide import Rules, decide, next_look_s
from consumer.core.model import Command, HaltReason, LedgerState, MentorId, Operation, Visibility
from consumer.core.outcome import RELEASED, Claim, Claimed, Conclusion, conclude
from consumer.core.pacing import Pacing
from consumer.core.retry import RetryPolicy
from consumer.core.verdict import NoResponse, TransportFailure, judge
from consumer.pipeline.endings import Endings
from consumer.pipeline.gate import Gate
from consumer.pipeline.letters import Letters
from consumer.pipeline.meter import Meter
from consumer.pipeline.patience import Dependencies, patiently
from consumer.pipeline.recording import Recording, Result
from consumer.pipeline.screening import Job, cause
from consumer.ports import CallResult, Delivered, DynamicsPort, FactsPort, Known, LedgerPort, Reading

_log = structlog.get_logger()


class Randomness(Protocol):
    """Where jitter comes from."""

    def random(self) -> float:
        """A number in [0, 1)."""
        ...


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """Seconds. `request_timeout_s` is one attempt's; a call starts only while more than that is left of its lease."""

    rules: Rules
    retry: RetryPolicy
    lease_s: float
    request_timeout_s: float


@dataclass(slots=True)
class Held:
    """A claimed mentor on its way to the call. `deadline_s` is when the lease ends by our monotonic clock, safely early."""

    job: Job
    known: Known
    claimed: Claimed
    deadline_s: float
    is_probe: bool
    reevaluate_at_s: float | None


class Delivery:
    """Takes jobs from screening, oldest first, and brings them to Dynamics."""

    def __init__(  # noqa: PLR0913 - assembled in one place, each part by its name
        self,
        *,
        facts: FactsPort,
        ledger: LedgerPort,
        dynamics: DynamicsPort,
        gate: Gate,
        pacing: Pacing,
        recording: Recording,
        letters: Letters,
        endings: Endings,
        meter: Meter,
        dependencies: Dependencies,
        policy: DeliveryPolicy,
        randomness: Randomness,
    ) -> None:
        self._facts = facts
        self._ledger = ledger
        self._dynamics = dynamics
        self._gate = gate
        self._pacing = pacing
        self._recording = recording
        self._letters = letters
        self._endings = endings
        self._meter = meter
        self._dependencies = dependencies
        self._policy = policy
        self._randomness = randomness
        self._jobs: list[Job] = []
        self._held_back: list[Job] = []  # removals that wait for an operator's word
        self._wake = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()
        self._claiming = 0
        self.is_stopping = False
        gate.lifted.append(self._lifted)

    def put(self, job: Job) -> None:
        """A mentor that needs a call."""
        heappush(self._jobs, job)
        self._wake.set()

    @property
    def waiting(self) -> int:
        """Mentors that need a call and have not been claimed."""
        return len(self._jobs) + len(self._held_back)

    @property
    def under_way(self) -> int:
        """Mentors claimed, called or being recorded."""
        return self._claiming + len(self._calls)

    def drop(self, is_ours: "Callable[[Job], bool]") -> None:
        """Forget jobs whose partition was revoked; nothing was claimed for them."""
        for jobs in (self._jobs, self._held_back):
            gone = [job for job in jobs if not is_ours(job)]
            jobs[:] = [job for job in jobs if is_ours(job)]
            for job in gone:
                self._endings.look_again(job.entry)
        self._jobs.sort()

    async def run(self) -> None:
        """Start calls as breaker, halts, pace and concurrency admit them."""
        while True:
            await self._hold_back_removals()
            admission = self._gate.admission()
            room = self._pacing.concurrency * 2 - self.under_way
            if self.is_stopping or not self._jobs or room <= 0:
                await self._woken(60.0)
            elif isinstance(admission, Go):
                await self._start(min(room, len(self._jobs), CLAIM_BATCH))
            elif isinstance(admission, Probe):
                await self._probe()
            else:
                await self._gate_opens(admission)

    async def _gate_opens(self, admission: Admission | None) -> None:
        await self._gate.changed(self._gate.wait_s(admission))

    async def _woken(self, timeout_s: float) -> None:
        self._wake.clear()
        if self._jobs and not self.is_stopping and self._pacing.concurrency * 2 > self.under_way:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _start(self, limit: int) -> None:
        granted, wait_s = self._pacing.take(limit, asyncio.get_running_loop().time())
        if not granted:
            await asyncio.sleep(min(wait_s, 1.0))
            return
        self._claim_soon([heappop(self._jobs) for _ in range(granted)], is_probe=False)
        await asyncio.sleep(0)

    async def _probe(self) -> None:
        if await self._gate.take_probe() and self._jobs:
            self._claim_soon([heappop(self._jobs)], is_probe=True)

    async def _hold_back_removals(self) -> None:
        if not self._gate.is_halted(HaltReason.MASS_REMOVAL):
            return
        held = [job for job in self._jobs if job.command.operation is Operation.REMOVE]
        if held:
            mentor_ids = [job.entry.mentor_id for job in held]
            await patiently(self._dependencies, "PostgreSQL", lambda: self._ledger.hold_removals(mentor_ids))
            self._held_back += held
            self._jobs = sorted(job for job in self._jobs if job.command.operation is not Operation.REMOVE)

    def _lifted(self, reason: HaltReason) -> None:
        if reason is HaltReason.MASS_REMOVAL:
            for job in self._held_back:
                heappush(self._jobs, job)
            self._held_back.clear()
        self._wake.set()

    def _claim_soon(self, jobs: list[Job], *, is_probe: bool) -> None:
        self._claiming += len(jobs)
        self._run(self._claim(jobs, is_probe=is_probe))

    async def _claim(self, jobs: list[Job], *, is_probe: bool) -> None:
        deadline_s = asyncio.get_running_loop().time() + self._policy.lease_s
        claims = [_claim_of(job) for job in jobs]
        claimed = await patiently(self._dependencies, "PostgreSQL", lambda: self._ledger.claim(claims))
        missing = [job for job in jobs if job.entry.mentor_id not in claimed]
        for job in missing:
            self._claiming -= 1
            self._endings.look_again(job.entry)
        if missing:
            await self._gate.refresh()  # the mass change guard may have held them back
        ours = [job for job in jobs if job.entry.mentor_id in claimed]
        if not ours:
            await self._abandon(is_probe=is_probe)
            return
        mentor_ids = [job.entry.mentor_id for job in ours]
        reading = await patiently(self._dependencies, "PostgreSQL", lambda: self._facts.read(mentor_ids))
        for job in ours:
            self._claiming -= 1
            held = self._look(job, claimed[job.entry.mentor_id], reading, deadline_s, is_probe=is_probe)
            if held is None:
                self._release(job, claimed[job.entry.mentor_id])
                await self._abandon(is_probe=is_probe)
            else:
                self._run(self._call(held))

    def _look(self, job: Job, claimed: Claimed, reading: Reading, deadline_s: float, *, is_probe: bool) -> Held | None:
        """The look that counts: does what was decided still hold on facts read under the claim?"""
        known = reading.mentors[job.entry.mentor_id]
        job.entry.absorb(lambda change: change.transaction_id is None or reading.snapshot.shows(change.transaction_id))
        decision = decide(known.facts, job.known.ledger, reading.now_s, self._policy.rules)
        if not isinstance(decision, Command) or decision.operation is not job.command.operation or known.contact_id is None:
            return None
        look_s = next_look_s(known.facts, reading.now_s, self._policy.rules)
        return Held(job, known, claimed, deadline_s, is_probe, look_s if decision.operation is Operation.RESTORE else None)

    async def _call(self, held: Held) -> None:
        loop = asyncio.get_running_loop()
        async with self._pacing_slot():
            if not self._may_start(held, loop.time()):
                self._release(held.job, held.claimed)
                await self._abandon(is_probe=held.is_probe)
                return
            result = await self._ask(held, loop.time())
        operation = held.job.command.operation
        outcome = result.verdict.error_code.value if result.verdict.error_code else "ok"
        self._meter.called(operation, outcome, result.duration_ms / 1000)
        conclusion = self._conclude(held, result)
        self._pacing.answered(result.verdict, loop.time())
        await self._gate.note(result.verdict, conclusion, is_probe=held.is_probe)
        await self._finish(held, result, conclusion)

    async def _ask(self, held: Held, now_s: float) -> CallResult:
        """Never longer than the lease holds: an answer later than that is no answer."""
        contact_id = held.known.contact_id
        assert contact_id is not None  # noqa: S101 - _look lets nothing else through
        try:
            async with asyncio.timeout(held.deadline_s - now_s):
                return await self._dynamics.call(contact_id, held.job.command.operation)
        except TimeoutError:
            duration_ms = int((held.deadline_s - now_s) * 1000)
            return CallResult(judge(NoResponse(TransportFailure.READ_TIMEOUT)), None, _NO_CORRELATION, duration_ms)

    def _may_start(self, held: Held, now_s: float) -> bool:
        """A claim waits for its turn; meanwhile the circuit may have opened, a halt come, or the lease run low."""
        if held.deadline_s - now_s <= self._policy.request_timeout_s:
            return False
        if self._gate.is_halted(HaltReason.MASS_REMOVAL) and held.job.command.operation is Operation.REMOVE:
            return False
        admission = self._gate.admission()
        return admission is not None and (held.is_probe or isinstance(admission, Go))

    def _conclude(self, held: Held, result: CallResult) -> Conclusion:
        entry = held.job.entry
        entry.spent_s += result.duration_ms / 1000
        conclusion = conclude(
            result.verdict,
            attempt_number=held.claimed.attempt_number,
            was_in_doubt=held.job.known.ledger.is_in_doubt,
            is_probe=held.is_probe,
            is_leaver=held.known.facts is None or held.known.facts.organization != self._policy.rules.organization,
            spent_s=entry.spent_s,
            random=self._randomness.random(),
            policy=self._policy.retry,
        )
        entry.spent_s += (conclusion.retry_in_s or 0.0) if conclusion.counts else 0.0
        return conclusion

    async def _finish(self, held: Held, result: CallResult, conclusion: Conclusion) -> None:
        entry, letter_id = held.job.entry, None
        if conclusion.letter is not None and conclusion.error_code is not None:
            letter = self._letters.compose(
                entry,
                held.known,
                conclusion.letter,
                conclusion.error_code.value,
                generation=held.claimed.generation,
                operation=held.job.command.operation,
                attempt_count=held.claimed.attempt_number,
                http_status=result.http_status,
            )
            await self._letters.write(letter)
            letter_id = letter.id
        self._log(held, result, conclusion)
        delivered = Delivered(
            held.claimed,
            held.job.known.ledger,
            held.job.command.operation,
            cause(entry),
            conclusion,
            certification_id=held.known.facts.certification_id if held.known.facts else None,
            reevaluate_at_s=held.reevaluate_at_s,
            dead_letter_id=letter_id,
            http_status=result.http_status,
            duration_ms=result.duration_ms,
            correlation_id=result.correlation_id,
        )
        self._recording.put(Result(entry, delivered))

    def _log(self, held: Held, result: CallResult, conclusion: Conclusion) -> None:
        fields = {
            "mentor_id": held.job.entry.mentor_id,
            "operation_type": held.job.command.operation.value,
            "attempt_number": held.claimed.attempt_number,
            "correlation_id": result.correlation_id,
            "duration_ms": result.duration_ms,
        }
        if conclusion.error_code is None:
            _log.debug("delivered", **fields)
            return
        certification_id = held.known.facts.certification_id if held.known.facts else None
        delay_ms = None if conclusion.retry_in_s is None else int(conclusion.retry_in_s * 1000)
        _log.warning(
            "retry" if conclusion.letter is None else "given_up",
            **fields,
            error_code=conclusion.error_code.value,
            http_status=result.http_status,
            delay_ms=delay_ms,
            certification_id=certification_id,
        )

    def _release(self, job: Job, claimed: Claimed) -> None:
        self._recording.put(Result(job.entry, Delivered(claimed, job.known.ledger, job.command.operation, cause(job.entry), RELEASED)))

    async def _abandon(self, *, is_probe: bool) -> None:
        if is_probe:
            await self._gate.abandon_probe()

    def _run(self, work: "Coroutine[None, None, None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        self._wake.set()


def _claim_of(job: Job) -> Claim:
    ledger = job.known.ledger
    is_counted = job.command.operation is Operation.REMOVE and ledger.applied is Visibility.VISIBLE
    return Claim(job.entry.mentor_id, ledger.generation, job.command.operation, cause(job.entry), is_counted)
