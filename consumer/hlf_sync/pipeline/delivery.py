"""From a job to a call: claim the mentor, read its facts once more, and start the call when pace
and breaker admit it.

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

from hlf_sync.core.breaker import Go, Probe
from hlf_sync.core.decide import Rules, due, next_look_s
from hlf_sync.core.mass_removal import takes_off_listing
from hlf_sync.core.model import Command, HaltReason, Operation
from hlf_sync.core.outcome import RELEASED, Claim, Claimed
from hlf_sync.core.pacing import Pacing
from hlf_sync.pipeline.call import Call, Held
from hlf_sync.pipeline.endings import Endings
from hlf_sync.pipeline.errands import Errands
from hlf_sync.pipeline.gate import Gate
from hlf_sync.pipeline.job import Job, cause
from hlf_sync.pipeline.patience import Dependencies, patiently
from hlf_sync.pipeline.recording import Recording, Result
from hlf_sync.pipeline.tracer import Tracer
from hlf_sync.ports import Delivered, FactsPort, LedgerPort, Reading

_CLAIM_BATCH = 200
# Claims ahead of the calls: what the pace lets through in this time, seconds. Longer only lets
# leases run; and no more than so many for each call at once, which a fast Dynamics needs for full
# statements.
_AHEAD_S, _AHEAD_CALLS = 0.25, 4
# At a slow pace too, a claim must be ready when its call's turn comes: else a slow PostgreSQL sets
# the pace, and no lost time is ever caught up.
_LEAST_AHEAD = 4
_IDLE_S = 60.0
_HELD_LOOK_S = 1.0
_SOON_S = 0.01


class Delivery:
    """Takes jobs from screening, oldest first, and brings them to Dynamics."""

    def __init__(
        self,
        *,
        facts: FactsPort,
        ledger: LedgerPort,
        gate: Gate,
        pacing: Pacing,
        call: Call,
        recording: Recording,
        endings: Endings,
        dependencies: Dependencies,
        rules: Rules,
        lease_s: float,
        tracer: Tracer | None = None,
    ) -> None:
        self._facts = facts
        self._ledger = ledger
        self._gate = gate
        self._pacing = pacing
        self._call = call
        self._recording = recording
        self._endings = endings
        self._dependencies = dependencies
        self._rules = rules
        self._lease_s = lease_s
        self._tracer = tracer
        self._jobs: list[Job] = []
        self._held_back: list[Job] = []  # removals that wait for an operator's word
        self._claimed: deque[Held] = deque()
        self._claiming = 0
        self._is_open = False  # calls are being started
        self._half = 0  # what may be claimed ahead before the next claims are due
        self._errands = Errands(self._ended)
        self._job_waits = asyncio.Event()
        self._call_waits = asyncio.Event()
        self.held_changes = (
            0  # of mentors whose removal waits for an operator's word, as counted at the last turn
        )
        self.is_stopping = False
        gate.lifted.append(self._lifted)

    def put(self, job: Job) -> None:
        """A mentor that needs a call."""
        heappush(self._jobs, job)
        self._job_waits.set()

    @property
    def waiting(self) -> int:
        """Mentors that need a call and have not been claimed."""
        return len(self._jobs) + len(self._held_back)

    @property
    def under_way(self) -> int:
        """Claims and calls that have not ended."""
        return len(self._errands) + len(self._claimed)

    def drop(self, is_ours: Callable[[Job], bool]) -> None:
        """Forget jobs whose partition was revoked; what was claimed for them, and waits for its
        turn, is given back: whoever has the partition now need not wait for our lease, and no
        attempt is counted.
        """
        for jobs in (self._jobs, self._held_back):
            gone = [job for job in jobs if not is_ours(job)]
            jobs[:] = [job for job in jobs if is_ours(job)]
            for job in gone:
                self._endings.look_again(job.entry)
        heapify(self._jobs)
        waiting, self._claimed = self._claimed, deque()
        for held in waiting:
            if is_ours(held.job):
                self._claimed.append(held)
            else:
                self._release(held)

    async def claim(self) -> None:
        """Claim jobs a little ahead of the calls, for ever."""
        while True:
            await self._hold_back_removals()
            room = self._room()
            admission = self._gate.admission()
            if self.is_stopping or not self._jobs or room <= 0:
                await _woken(self._job_waits, _HELD_LOOK_S if self._held_back else _IDLE_S)
            elif isinstance(admission, Go):
                self._claim_soon(
                    [heappop(self._jobs) for _ in range(min(room, len(self._jobs), _CLAIM_BATCH))],
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

    def _is_shut_for(self, held: Held) -> bool:
        is_open = isinstance(self._gate.admission(), Go | Probe)
        return not is_open and not self._gate.is_proof(held.probe)

    def _claim_soon(self, jobs: list[Job], probe: str | None) -> None:
        self._claiming += len(jobs)
        self._errands.start(self._claim(jobs, probe))

    async def _probe(self) -> None:
        """Take the one probe for whose turn it is; it may come back, or go, while that is asked."""
        mentor_id, wait_s = self._gate.choose_probe(
            job.entry.mentor_id for job in sorted(self._jobs)
        )
        if mentor_id is None or wait_s > 0.0:
            await self._gate.changed(max(_SOON_S, min(wait_s, _HELD_LOOK_S)))
            return
        probe = str(uuid4())
        if not await self._gate.take_probe(probe, mentor_id):
            await self._gate.changed(_SOON_S)
            return
        job = next((job for job in self._jobs if job.entry.mentor_id == mentor_id), None)
        if job is None:
            await self._gate.abandon(probe)
        else:
            self._jobs.remove(job)
            heapify(self._jobs)
            self._claim_soon([job], probe)

    async def _prove(self) -> None:
        """Make the one request that tells whether Dynamics still refuses us: of the oldest mentor
        that it was not refused for; where all were, of the oldest, in its time.
        """
        job = min(self._jobs, key=lambda job: (self._call.is_suspect(job), job.order))
        wait_s = self._gate.proof_in_s(is_suspect=self._call.is_suspect(job))
        proof = str(uuid4())
        if wait_s > 0.0:
            await self._gate.changed(max(_SOON_S, min(wait_s, _HELD_LOOK_S)))
        elif await self._gate.take_proof(proof, job.entry.mentor_id) and job in self._jobs:
            self._jobs.remove(job)
            heapify(self._jobs)
            self._claim_soon([job], proof)

    async def _hold_back_removals(self) -> None:
        if not self._gate.is_halted(HaltReason.MASS_REMOVAL):
            self.held_changes = 0
            return
        for job in self._held_back:
            if job.entry.newer:  # facts may have changed: perhaps it need not wait any more
                self._endings.look_again(job.entry)
        held = [job for job in self._jobs if job.command.operation is Operation.REMOVE]
        self._held_back = [job for job in self._held_back if job.entry.in_progress] + held
        self.held_changes = sum(len(job.entry.changes) for job in self._held_back)
        if held:
            self._jobs = [
                job for job in self._jobs if job.command.operation is not Operation.REMOVE
            ]
            heapify(self._jobs)
            mentor_ids = [job.entry.mentor_id for job in held]
            await patiently(
                self._dependencies, "PostgreSQL", lambda: self._ledger.hold_removals(mentor_ids)
            )

    def _lifted(self, reason: HaltReason) -> None:
        if reason is HaltReason.MASS_REMOVAL:
            for job in self._held_back:
                heappush(self._jobs, job)
            self._held_back.clear()
        self._job_waits.set()

    async def _claim(self, jobs: list[Job], probe: str | None) -> None:
        deadline_s = asyncio.get_running_loop().time() + self._lease_s
        tracer = self._tracer
        began_ns = tracer.now_ns() if tracer is not None else 0
        claims = [_claim_of(job, tracer) for job in jobs]
        claimed = await patiently(
            self._dependencies, "PostgreSQL", lambda: self._ledger.claim(claims)
        )
        missing = [job for job in jobs if job.entry.mentor_id not in claimed]
        if missing:
            await self._gate.refresh()  # the mass change guard may have held them back
            for job in missing:
                self._endings.look_again(job.entry)
        ours = [job for job in jobs if job.entry.mentor_id in claimed]
        if ours:
            mentor_ids = [job.entry.mentor_id for job in ours]
            reading = await patiently(
                self._dependencies, "PostgreSQL", lambda: self._facts.read(mentor_ids)
            )
            for job in ours:
                if tracer is not None:
                    tracer.claimed(claimed[job.entry.mentor_id], began_ns)
                self._look(job, claimed[job.entry.mentor_id], reading, deadline_s, probe)
        else:
            await self._gate.abandon(probe)
        self._claiming -= len(jobs)
        self._call_waits.set()

    def _look(
        self, job: Job, claimed: Claimed, reading: Reading, deadline_s: float, probe: str | None
    ) -> None:
        """The look that counts: does what was decided still hold on facts read under the claim?"""
        known = reading.mentors[job.entry.mentor_id]
        job.entry.snapshot = reading.snapshot
        job.entry.absorb(
            lambda change: (
                change.transaction_id is None or reading.snapshot.shows(change.transaction_id)
            )
        )
        decision = due(known, job.known.ledger, reading.now_s, self._rules)
        holds = (
            isinstance(decision, Command)
            and decision.operation is job.command.operation
            and decision.former_contact_id == job.command.former_contact_id
            and known.contact_id is not None
            and not known.is_paused
        )
        # After a former contact it is the new one's turn at once.
        look_s = (
            next_look_s(known.facts, reading.now_s, self._rules)
            if job.command.former_contact_id is None
            else reading.now_s
        )
        held = Held(job, known, claimed, deadline_s, probe, look_s)
        if holds:
            self._claimed.append(held)
        else:
            self._release(held)

    def _start(self, held: Held, now_s: float) -> None:
        """A claim waited for its turn; meanwhile the circuit may have opened, a halt come, or the
        lease run low.
        """
        admission = self._gate.admission()
        is_admitted = (
            isinstance(admission, Go)
            or (held.probe is not None and admission is not None)
            or self._gate.is_proof(held.probe)
        )
        if self.is_stopping or not is_admitted or not self._call.fits(held, now_s):
            if not self.is_stopping:
                self._pacing.hand_back()
            self._release(held)
        else:
            self._errands.start(self._call.make(held))

    def _release(self, held: Held) -> None:
        """Give the claim back without a call. There is room for another."""
        job = held.job
        self._job_waits.set()
        self._recording.put(
            Result(
                job.entry,
                Delivered(
                    held.claimed,
                    job.known.ledger,
                    job.command.operation,
                    cause(job.entry),
                    RELEASED,
                ),
            )
        )
        if held.probe is not None:
            self._errands.start(self._gate.abandon(held.probe))

    def _ended(self) -> None:
        """After each claim and each call. Its successor starts here and now; the two loops are woken
        only where they have something to do: a turn of theirs costs as much as a tenth of a call.
        """
        wait_s = self._start_calls() if self._is_open else None
        if wait_s is not None and wait_s < inf:
            self._call_waits.set()
        is_due = self._claiming + len(self._claimed) <= self._half
        if (self._jobs and is_due) or self._held_back:
            self._job_waits.set()


async def _woken(event: asyncio.Event, timeout_s: float) -> None:
    """Wait for what sets the event from now on, or for the time."""
    event.clear()
    try:
        async with asyncio.timeout(None if timeout_s == inf else timeout_s):
            await event.wait()
    except TimeoutError:
        return


def _claim_of(job: Job, tracer: Tracer | None) -> Claim:
    mentor_id, ledger = job.entry.mentor_id, job.known.ledger
    is_counted = takes_off_listing(job.command, ledger)
    trace_parent = tracer.trace_parent(mentor_id) if tracer is not None else None
    return Claim(
        mentor_id,
        ledger.generation,
        job.command.operation,
        cause(job.entry),
        is_counted,
        trace_parent,
    )
