"""The first look at dirty mentors: read many in one statement, decide, and sort them by what
follows.

No call needed → finished here. Facts outside the contract, no mapping → a dead letter. A call
needed → handed to delivery, which claims the mentor and looks once more. Not visible yet, or
another worker's lease → looked at again at a due time.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from hlf_sync.core.at_rest import resting, says
from hlf_sync.core.decide import Rules
from hlf_sync.core.evaluation import Evaluation, Reading
from hlf_sync.core.mentor_queue import MentorQueue
from hlf_sync.core.model import (
    Command,
    Known,
    LedgerState,
    LetterKind,
    MentorId,
    NoCall,
    Refuse,
    Trigger,
    refusal_of,
)
from hlf_sync.core.outcome import NO_CALL, Conclusion, Ending
from hlf_sync.core.visibility import Fate, VisibilityPolicy
from hlf_sync.pipeline.completion import Completion
from hlf_sync.pipeline.dead_letters import DeadLetters
from hlf_sync.pipeline.meter import Meter
from hlf_sync.pipeline.patience import Dependencies, patiently
from hlf_sync.pipeline.tracer import Tracer
from hlf_sync.ports import FactsPort, LedgerPort

_log = structlog.get_logger()

# Enough to make a statement's cost per mentor small, few enough to keep the loop free for others.
BATCH = 256
# How often a mentor that somebody else has claimed is looked at.
_LEASE_LOOK_S = 0.5
# How often a mentor for whom the view fails is looked at.
_UNREADABLE_S = 5.0
# What is due is only written down.
_SET_ASIDE = Conclusion(Ending.NO_CALL, LedgerState.PENDING, counts=False)


@dataclass(frozen=True, slots=True)
class ScreeningPolicy:
    """`worker` is this process's name, as in leases. `view_patience_s`: how long a mentor for whom
    the view fails is waited for, seconds.
    """

    rules: Rules
    worker: str
    is_shadow: bool
    max_attempts: int
    visibility: VisibilityPolicy
    view_patience_s: float = 60.0


class Screening:
    """Takes dirty mentors from the queue for ever."""

    def __init__(
        self,
        *,
        queue: MentorQueue,
        facts: FactsPort,
        ledger: LedgerPort,
        completion: Completion,
        letters: DeadLetters,
        meter: Meter,
        dependencies: Dependencies,
        policy: ScreeningPolicy,
        deliver: Callable[[Evaluation], None],
        tracer: Tracer,
    ) -> None:
        self._queue = queue
        self._facts = facts
        self._ledger = ledger
        self._completion = completion
        self._letters = letters
        self._meter = meter
        self._dependencies = dependencies
        self._policy = policy
        self._deliver = deliver
        self._tracer = tracer
        self._warned: dict[MentorId, str] = {}

    async def run(self) -> None:
        """Look at dirty mentors as they become due."""
        loop = asyncio.get_running_loop()
        while True:
            evaluations = self._queue.take(BATCH, loop.time())
            if evaluations:
                await self._look(evaluations)
            else:
                await self._completion.dirty(self._queue.next_due_s(loop.time()))

    async def _look(self, evaluations: list[Evaluation]) -> None:
        mentor_ids = [evaluation.mentor_id for evaluation in evaluations]
        began_ns = self._tracer.now_ns()
        reading = await patiently(
            self._dependencies, "PostgreSQL", lambda: self._facts.read(mentor_ids)
        )
        self._meter.evaluated(len(evaluations))
        now_s = asyncio.get_running_loop().time()
        settled: list[Evaluation] = []
        for evaluation in evaluations:
            known = evaluation.look(reading)
            if not self._completion.is_ours(evaluation):
                self._completion.requeue(evaluation)  # it went while it was read, and ends here
                continue
            if await self._is_early(evaluation, known, reading):
                continue
            if self._waits_for_view(evaluation, known, now_s):
                continue
            self._meter.staged("decided", now_s - evaluation.due_s)
            if self._decide(evaluation, reading.now_s, began_ns):
                settled.append(evaluation)
        await self._settle(settled)

    def _waits_for_view(self, evaluation: Evaluation, known: Known, now_s: float) -> bool:
        """The view fails for this mentor: it waits for a while until it is mended, and nobody else
        does. After that it is a letter.
        """
        if known.facts is None or not known.facts.is_unreadable:
            return False
        if (
            evaluation.waits_since_s is not None
            and now_s - evaluation.waits_since_s >= self._policy.view_patience_s
        ):
            return False
        _log.error("facts_unreadable", mentor_id=evaluation.mentor_id)
        self._completion.requeue(evaluation, min(_UNREADABLE_S, self._policy.view_patience_s))
        return True

    async def _is_early(self, evaluation: Evaluation, known: Known, reading: Reading) -> bool:
        """Whether a decision now could rest on old facts, or on a ledger row that another worker is
        about to change.
        """
        now_s = asyncio.get_running_loop().time()
        unseen = [
            c.transaction_id
            for c in evaluation.changes
            if c.transaction_id is not None and not reading.snapshot.shows(c.transaction_id)
        ]
        if unseen:
            evaluation.looks += 1
            if (
                evaluation.waits_since_s is None
                or now_s - evaluation.waits_since_s < self._policy.visibility.patience_s
            ):
                self._completion.requeue(
                    evaluation, self._policy.visibility.wait_s(evaluation.looks)
                )
                return True
            if not await self._is_beyond_reach([reading.snapshot.widen(xid) for xid in unseen]):
                self._completion.requeue(evaluation, self._policy.visibility.longest_s)
                return True
            await self._ask_once_more(evaluation)
        ledger = known.ledger
        if (
            ledger.lease_owner not in {None, self._policy.worker}
            and (ledger.lease_until_s or 0) > reading.now_s
        ):
            # Its end is the latest; most calls end long before it, and until then the mentor would
            # count as stale.
            left_s = (ledger.lease_until_s or 0) - reading.now_s + 0.01
            self._completion.requeue(evaluation, min(left_s, _LEASE_LOOK_S))
            return True
        return False

    async def _is_beyond_reach(self, transaction_ids: list[int]) -> bool:
        """Whether PostgreSQL will never show them: ids of another cluster (a restore), or too old.
        Then the facts as they are must do.
        """
        for transaction_id in transaction_ids:
            fate = await patiently(
                self._dependencies,
                "PostgreSQL",
                partial(self._facts.fate, transaction_id),
            )
            if fate is not Fate.UNKNOWN:
                return False
        self._meter.unseen_for_ever()
        _log.warning("transaction_unknown", transaction_id=transaction_ids[0])
        return True

    async def _ask_once_more(self, evaluation: Evaluation) -> None:
        """The facts may still be those of before the change: a request, which this database will
        show, brings the mentor back later.
        """
        ask = partial(
            self._ledger.ask, [evaluation.mentor_id], Trigger.RECONCILIATION, "transaction unknown"
        )
        await patiently(self._dependencies, "PostgreSQL", ask)

    def _decide(self, evaluation: Evaluation, database_now_s: float, began_ns: int) -> bool:
        """Whether the ledger must be told of an evaluation that needs no call; every other one is
        handed on, or has ended.
        """
        known = evaluation.known
        if known.is_remapped:
            _log.warning("contact_replaced", mentor_id=evaluation.mentor_id)
        decision = evaluation.decide(database_now_s, self._policy.rules)
        self._tracer.looked(evaluation, began_ns)
        match decision:
            case NoCall():
                self._warn(evaluation, decision)
                if self._must_settle(evaluation, decision, database_now_s):
                    return True
                self._completion.after(evaluation)
            case Refuse(error_code):
                self._refuse(evaluation, LetterKind.REFUSED, error_code)
            case Command() if self._is_set_aside(known):
                evaluation.conclusion = _SET_ASIDE
                return True
            case Command():
                self._command(evaluation, decision)
        return False

    def _command(self, evaluation: Evaluation, command: Command) -> None:
        known = evaluation.known
        if known.contact_id is None:  # never so for a former contact: another is mapped
            self._refuse(evaluation, LetterKind.UNMAPPED, "mentor_mapping")
        elif self._is_refused_already(evaluation, command):
            self._end_without_call(evaluation)  # its letter says so, and is open
        elif evaluation.is_spent(self._policy.max_attempts):
            self._letters.exhausted_by_crashes(evaluation)
        else:
            evaluation.decided_s = asyncio.get_running_loop().time()
            self._deliver(evaluation)

    def _end_without_call(self, evaluation: Evaluation) -> None:
        evaluation.conclusion = NO_CALL
        self._completion.after(evaluation)

    def _is_refused_already(self, evaluation: Evaluation, command: Command) -> bool:
        """Whether only a sweep asks for what Dynamics has refused for this very contact, while its
        letter is open: nothing has changed, and thousands of refusals would be written again each
        night. Anybody's word, a replay, a row's change or another contact does ask again.
        """
        ledger = evaluation.before
        return (
            evaluation.is_held_by_letter
            and not ledger.is_in_doubt
            and ledger.refusal == refusal_of(evaluation.contact_id, command.operation)
            and all(change.trigger is Trigger.RECONCILIATION for change in evaluation.changes)
        )

    def _is_set_aside(self, known: Known) -> bool:
        """Whether what is due is only written down: in shadow, and while an operator has paused the
        mentor.
        """
        return self._policy.is_shadow or known.is_paused

    def _must_settle(self, evaluation: Evaluation, decision: NoCall, now_s: float) -> bool:
        """Conclude that nothing is called; whether the ledger must learn something all the same: the
        next look, and that nothing is open any more.
        """
        known, ledger = evaluation.known, evaluation.before
        evaluation.conclusion = NO_CALL
        if not known.has_ledger:
            return False
        state, look_s = resting(decision, known.facts, now_s, self._policy.rules)
        is_known = says(ledger, state, look_s, now_s)
        # A request is noted even when it changes nothing: whoever asked sees by `updated_at` that
        # somebody has looked. A held removal ends with it, and an operator's word for one.
        if is_known and not evaluation.is_request and not known.is_held:
            return False
        evaluation.conclusion = Conclusion(Ending.NO_CALL, state, counts=False)
        evaluation.reevaluate_at_s = look_s
        return True

    async def _settle(self, settled: list[Evaluation]) -> None:
        if not settled:
            return
        done = await patiently(
            self._dependencies, "PostgreSQL", lambda: self._ledger.settle(settled)
        )
        for evaluation in settled:
            self._completion.after(evaluation, is_durable=evaluation.mentor_id in done)

    def _refuse(self, evaluation: Evaluation, kind: LetterKind, error_code: str) -> None:
        if evaluation.is_held_by_letter and evaluation.before.last_error_code == error_code:
            self._end_without_call(evaluation)  # its letter is open already, and says the same
        else:
            self._letters.without_call(evaluation, kind, error_code)

    def _warn(self, evaluation: Evaluation, decision: NoCall) -> None:
        """One warning for as long as the reason stands (R05)."""
        if not decision.is_warning:
            self._warned.pop(evaluation.mentor_id, None)
        elif self._warned.get(evaluation.mentor_id) != decision.reason:
            self._warned[evaluation.mentor_id] = decision.reason
            _log.warning("no_call", mentor_id=evaluation.mentor_id, reason=decision.reason)
