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

from hlf_sync.core.at_rest import resting
from hlf_sync.core.decide import Rules, due
from hlf_sync.core.mentor_queue import Entry, MentorQueue
from hlf_sync.core.model import (
    Command,
    LedgerState,
    LetterKind,
    MentorId,
    NoCall,
    Refuse,
    Trigger,
    refusal_of,
)
from hlf_sync.core.visibility import Fate, VisibilityPolicy
from hlf_sync.pipeline.endings import Endings
from hlf_sync.pipeline.job import REQUESTS, Job, cause
from hlf_sync.pipeline.letters import Letters
from hlf_sync.pipeline.meter import Meter
from hlf_sync.pipeline.patience import Dependencies, patiently
from hlf_sync.pipeline.tracer import Tracer
from hlf_sync.ports import FactsPort, Known, LedgerPort, Reading, Settlement

_log = structlog.get_logger()

# Enough to make a statement's cost per mentor small, few enough to keep the loop free for others.
BATCH = 256
# How often a mentor that somebody else has claimed is looked at.
_LEASE_LOOK_S = 0.5
# How often a mentor for whom the view fails is looked at.
_UNREADABLE_S = 5.0


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
        endings: Endings,
        letters: Letters,
        meter: Meter,
        dependencies: Dependencies,
        policy: ScreeningPolicy,
        deliver: Callable[[Job], None],
        tracer: Tracer | None = None,
    ) -> None:
        self._queue = queue
        self._facts = facts
        self._ledger = ledger
        self._endings = endings
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
            entries = self._queue.take(BATCH, loop.time())
            if entries:
                await self._look(entries)
            else:
                await self._endings.dirty(self._queue.next_due_s(loop.time()))

    async def _look(self, entries: list[Entry]) -> None:
        mentor_ids = [entry.mentor_id for entry in entries]
        began_ns = self._tracer.now_ns() if self._tracer is not None else 0
        reading = await patiently(
            self._dependencies, "PostgreSQL", lambda: self._facts.read(mentor_ids)
        )
        self._meter.evaluated(len(entries))
        now_s = asyncio.get_running_loop().time()
        settled: list[tuple[Entry, Settlement, str]] = []
        for entry in entries:
            entry.snapshot = reading.snapshot
            known = reading.mentors[entry.mentor_id]
            if not self._endings.is_ours(entry):
                self._endings.look_again(entry)  # it went while it was read, and ends here
                continue
            if await self._is_early(entry, known, reading):
                continue
            if self._waits_for_view(entry, known, now_s):
                continue
            self._meter.staged("decided", now_s - entry.due_s)
            self._decide(entry, known, reading, settled, began_ns)
        await self._settle(settled)

    def _waits_for_view(self, entry: Entry, known: Known, now_s: float) -> bool:
        """The view fails for this mentor: it waits for a while until it is mended, and nobody else
        does. After that it is a letter.
        """
        if known.facts is None or not known.facts.is_unreadable:
            return False
        if (
            entry.waits_since_s is not None
            and now_s - entry.waits_since_s >= self._policy.view_patience_s
        ):
            return False
        _log.error("facts_unreadable", mentor_id=entry.mentor_id)
        self._queue.postpone(entry, now_s + min(_UNREADABLE_S, self._policy.view_patience_s), now_s)
        return True

    async def _is_early(self, entry: Entry, known: Known, reading: Reading) -> bool:
        """Whether a decision now could rest on old facts, or on a ledger row that another worker is
        about to change.
        """
        now_s = asyncio.get_running_loop().time()
        unseen = [
            c.transaction_id
            for c in entry.changes
            if c.transaction_id is not None and not reading.snapshot.shows(c.transaction_id)
        ]
        if unseen:
            entry.looks += 1
            if (
                entry.waits_since_s is None
                or now_s - entry.waits_since_s < self._policy.visibility.patience_s
            ):
                self._queue.postpone(
                    entry, now_s + self._policy.visibility.wait_s(entry.looks), now_s
                )
                return True
            if not await self._is_beyond_reach([reading.snapshot.widen(xid) for xid in unseen]):
                self._queue.postpone(entry, now_s + self._policy.visibility.longest_s, now_s)
                return True
            await self._ask_once_more(entry)
        ledger = known.ledger
        if (
            ledger.lease_owner not in {None, self._policy.worker}
            and (ledger.lease_until_s or 0) > reading.now_s
        ):
            # Its end is the latest; most calls end long before it, and until then the mentor would
            # count as stale.
            left_s = (ledger.lease_until_s or 0) - reading.now_s + 0.01
            self._queue.postpone(entry, now_s + min(left_s, _LEASE_LOOK_S), now_s)
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

    async def _ask_once_more(self, entry: Entry) -> None:
        """The facts may still be those of before the change: a request, which this database will
        show, brings the mentor back later.
        """
        ask = partial(
            self._ledger.ask, [entry.mentor_id], Trigger.RECONCILIATION, "transaction unknown"
        )
        await patiently(self._dependencies, "PostgreSQL", ask)

    def _decide(
        self,
        entry: Entry,
        known: Known,
        reading: Reading,
        settled: list[tuple[Entry, Settlement, str]],
        began_ns: int,
    ) -> None:
        if known.is_remapped:
            _log.warning("contact_replaced", mentor_id=entry.mentor_id)
        decision = due(known, known.ledger, reading.now_s, self._policy.rules)
        if self._tracer is not None:
            self._tracer.looked(entry, known, decision, began_ns)
        match decision:
            case NoCall():
                self._warn(entry, decision)
                settlement = self._settlement(entry, known, decision, reading.now_s)
                outcome = (
                    "out_of_scope"
                    if decision.is_out_of_scope and not known.has_ledger
                    else "no_call"
                )
                if settlement is None:
                    self._endings.finish(entry, outcome)
                else:
                    settled.append((entry, settlement, outcome))
            case Refuse(error_code):
                self._refuse(entry, known, LetterKind.REFUSED, error_code)
            case Command() if self._is_set_aside(known):
                settled.append(
                    (
                        entry,
                        Settlement(
                            entry.mentor_id,
                            known.ledger.generation,
                            LedgerState.PENDING,
                            None,
                            cause(entry),
                        ),
                        "no_call",
                    )
                )
            case Command():
                self._command(entry, known, decision)

    def _command(self, entry: Entry, known: Known, command: Command) -> None:
        if known.contact_id is None:  # never so for a former contact: another is mapped
            self._refuse(entry, known, LetterKind.UNMAPPED, "mentor_mapping")
        elif self._is_refused_already(entry, known, command):
            self._endings.finish(entry, "no_call")  # its letter says so, and is open
        elif self._is_spent(known):
            self._letters.exhausted_by_crashes(entry, known, command)
        else:
            now_s = asyncio.get_running_loop().time()
            self._deliver(Job(entry, known, command, entry.arrived, now_s))

    def _is_refused_already(self, entry: Entry, known: Known, command: Command) -> bool:
        """Whether only a sweep asks for what Dynamics has refused for this very contact, while its
        letter is open: nothing has changed, and thousands of refusals would be written again each
        night. Anybody's word, a replay, a row's change or another contact does ask again.
        """
        ledger = known.ledger
        return (
            ledger.state is LedgerState.DEAD_LETTERED
            and ledger.dead_letter_id is not None
            and not ledger.is_in_doubt
            and ledger.refusal
            == refusal_of(known.former_contact_id or known.contact_id, command.operation)
            and all(change.trigger is Trigger.RECONCILIATION for change in entry.changes)
        )

    def _is_set_aside(self, known: Known) -> bool:
        """Whether what is due is only written down: in shadow, and while an operator has paused the
        mentor.
        """
        return self._policy.is_shadow or known.is_paused

    def _is_spent(self, known: Known) -> bool:
        """Whether each attempt ended with the worker: a mentor that kills it ends as a dead letter,
        not as a crash loop.
        """
        is_open = known.ledger.state in {LedgerState.PENDING, LedgerState.IN_DOUBT}
        return is_open and known.ledger.attempt_count >= self._policy.max_attempts

    def _settlement(
        self, entry: Entry, known: Known, decision: NoCall, now_s: float
    ) -> Settlement | None:
        """What the ledger must learn although nothing is called: the next look, and that nothing is
        open any more.
        """
        ledger = known.ledger
        if not known.has_ledger:
            return None
        state, look_s = resting(decision, known.facts, now_s, self._policy.rules)
        is_known = (
            ledger.state,
            ledger.reevaluate_at_s,
            ledger.attempt_count,
            ledger.dead_letter_id,
        ) == (state, look_s, 0, None)
        # A request is noted even when it changes nothing: whoever asked sees by `updated_at` that
        # somebody has looked.
        return (
            None
            if is_known and cause(entry) not in REQUESTS
            else Settlement(entry.mentor_id, ledger.generation, state, look_s, cause(entry))
        )

    async def _settle(self, settled: list[tuple[Entry, Settlement, str]]) -> None:
        if not settled:
            return
        wanted = [settlement for _, settlement, _ in settled]
        done = await patiently(
            self._dependencies, "PostgreSQL", lambda: self._ledger.settle(wanted)
        )
        for entry, settlement, outcome in settled:
            if settlement.mentor_id in done:
                self._endings.finish(entry, outcome)
            else:
                self._endings.look_again(entry)

    def _refuse(self, entry: Entry, known: Known, kind: LetterKind, error_code: str) -> None:
        ledger = known.ledger
        if (
            ledger.state is LedgerState.DEAD_LETTERED
            and ledger.last_error_code == error_code
            and ledger.dead_letter_id
        ):
            self._endings.finish(entry, "no_call")  # its letter is open already, and says the same
        else:
            self._letters.without_call(entry, known, kind, error_code)

    def _warn(self, entry: Entry, decision: NoCall) -> None:
        """One warning for as long as the reason stands (R05)."""
        if not decision.is_warning:
            self._warned.pop(entry.mentor_id, None)
        elif self._warned.get(entry.mentor_id) != decision.reason:
            self._warned[entry.mentor_id] = decision.reason
            _log.warning("no_call", mentor_id=entry.mentor_id, reason=decision.reason)
