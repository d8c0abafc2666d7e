"""One mentor's evaluation: the one value that goes through the pipeline, from the change that made
the mentor dirty to the outcome that finishes it; and what happens after each step.

| step | what it adds | done by |
|---|---|---|
| wait | `changes`, `newer`, `due_s` | core/mentor_queue |
| first look | `before`, `known`, `decision`, `snapshot` | pipeline/screening, library |
| claim | `claimed`, `deadline_s`, `probe`, `trace_parent` | pipeline/delivery, library |
| second look | `known`, `snapshot`, `reevaluate_at_s` | pipeline/delivery, library |
| call | `result`, `conclusion`, `started_s` | pipeline/call |
| letter | `dead_letter_id` | pipeline/dead_letters |
| record | nothing: `after` says what comes next | pipeline/recording, library |

A step reads only what an earlier one has added: to read more is an AttributeError, a bug of ours.
Pure; no step may act here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

from hlf_sync.core.decide import Rules, due, next_look_s
from hlf_sync.core.mass_removal import takes_off_listing
from hlf_sync.core.model import (
    Change,
    Command,
    ContactId,
    Decision,
    Known,
    LedgerRow,
    LedgerState,
    MentorId,
    NoCall,
    Operation,
    Trigger,
)
from hlf_sync.core.outcome import CallResult, Claimed, Conclusion, Ending
from hlf_sync.core.visibility import Snapshot

_REQUESTS = frozenset({Trigger.MANUAL, Trigger.EXPIRY, Trigger.RECONCILIATION, Trigger.REPLAY})


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of several mentors: all rows, the clock and the snapshot belong to the same
    statement.
    """

    now_s: float
    snapshot: Snapshot
    mentors: Mapping[MentorId, Known]


@dataclass(slots=True, eq=False)
class Evaluation:
    """One mentor, and all that is known of its way so far.

    `arrived` orders by age; `looks` counts evaluations that came too early for visibility;
    `spent_s` is what attempts and backoffs of the delivery under way took. Monotonic seconds:
    `due_s`, `began_s`, `waits_since_s`, `decided_s`, `deadline_s` (when the lease ends by our
    clock, safely early), `ended_s`. PostgreSQL's clock: `started_s`, `reevaluate_at_s`.
    """

    mentor_id: MentorId
    arrived: int
    changes: list[Change] = field(default_factory=list)
    newer: list[Change] = field(default_factory=list)  # arrived while it is in progress
    newer_arrived: int = 0  # `arrived` of the oldest of them
    in_progress: bool = False
    due_s: float = 0.0
    ticket: int = 0  # the one heap item that is current; older ones are stale
    began_s: float = float("-inf")
    looks: int = 0
    waits_since_s: float | None = None
    spent_s: float = 0.0
    # when the first call of the delivery under way was claimed, epoch milliseconds
    first_attempt_ms: int | None = None

    # what the steps add
    snapshot: Snapshot | None = None
    decision: Decision | None = None
    before: LedgerRow = field(init=False, repr=False)  # what the first look has decided on
    known: Known = field(init=False, repr=False)
    decided_s: float = field(init=False, repr=False)
    claimed: Claimed = field(init=False, repr=False)
    deadline_s: float = field(init=False, repr=False)
    conclusion: Conclusion = field(init=False, repr=False)
    ended_s: float = field(init=False, repr=False)
    # None from the first look on; not before, since most changes of a backlog never get that far
    trace_parent: str | None = field(init=False, repr=False)
    probe: str | None = field(init=False, repr=False)  # names a probe
    reevaluate_at_s: float | None = field(init=False, repr=False)
    result: CallResult | None = field(init=False, repr=False)
    started_s: float | None = field(init=False, repr=False)
    dead_letter_id: str | None = field(init=False, repr=False)

    def __lt__(self, other: "Evaluation") -> bool:
        return self.arrived < other.arrived

    # ---- the steps

    def again(self, arrived: int, changes: list[Change]) -> "Evaluation":
        """The mentor's next evaluation, about these changes: what the steps have added is gone."""
        return Evaluation(self.mentor_id, arrived, changes, began_s=self.began_s)

    def look(self, reading: Reading) -> Known:
        """The first look."""
        self.trace_parent = self.probe = self.dead_letter_id = None
        self.reevaluate_at_s = self.result = self.started_s = None
        self.snapshot = reading.snapshot
        self.known = reading.mentors[self.mentor_id]
        self.before = self.known.ledger
        return self.known

    def decide(self, now_s: float, rules: Rules) -> Decision:
        """What the first look says; `now_s` is the reading's."""
        self.decision = due(self.known, self.before, now_s, rules)
        self.reevaluate_at_s = next_look_s(self.known.facts, now_s, rules)
        return self.decision

    def confirm(self, reading: Reading, rules: Rules) -> bool:
        """The look that counts, under the claim: does what was decided still hold, and for the
        contact that the intent names? Newer changes that its snapshot shows belong to this
        evaluation from now on.
        """
        command, known = self.command, reading.mentors[self.mentor_id]
        claimed_for = self.contact_id
        snapshot = reading.snapshot
        self.known, self.snapshot = known, snapshot
        self.absorb(
            lambda change: change.transaction_id is None or snapshot.shows(change.transaction_id)
        )
        self.reevaluate_at_s = next_look_s(known.facts, reading.now_s, rules)
        decision = due(known, self.before, reading.now_s, rules)
        return (
            isinstance(decision, Command)
            and decision.operation is command.operation
            and decision.former_contact_id == command.former_contact_id
            and self.contact_id == claimed_for is not None
            and not known.is_paused
        )

    def absorb(self, is_covered: Callable[[Change], bool]) -> None:
        """Facts were read again during the evaluation: newer changes that they cover belong to it
        from now on.
        """
        if self.newer:
            self.changes += [change for change in self.newer if is_covered(change)]
            self.newer = [change for change in self.newer if not is_covered(change)]

    # ---- what follows from it

    @property
    def all_changes(self) -> list[Change]:
        """Every change not finished yet."""
        return self.changes + self.newer

    @property
    def triggered_by(self) -> Trigger:
        """Why the mentor is looked at (R09): the newest request if somebody asked, else the newest
        row change.
        """
        triggers = [change.trigger for change in self.changes]
        return next(
            (t for t in reversed(triggers) if t in _REQUESTS),
            triggers[-1] if triggers else Trigger.RECONCILIATION,
        )

    @property
    def is_request(self) -> bool:
        """Whether somebody asked for the look."""
        return self.triggered_by in _REQUESTS

    @property
    def command(self) -> Command:
        """What is to be called, after a first look that says so."""
        assert isinstance(self.decision, Command)  # noqa: S101 - screening lets nothing else through
        return self.decision

    @property
    def operation(self) -> Operation:
        """What is asked of Dynamics."""
        return self.command.operation

    @property
    def contact_id(self) -> ContactId | None:
        """Whom the call is about."""
        return self.command.former_contact_id or self.known.contact_id

    @property
    def is_farewell(self) -> bool:
        """Whether the call is about a contact that the mentor no longer has: one that is gone is as
        good as hidden.
        """
        return self.command.former_contact_id is not None

    @property
    def planned_look_s(self) -> float | None:
        """What the record plans: after a former contact is hidden it is the new one's turn at once."""
        is_hidden = self.is_farewell and self.conclusion.ending is Ending.APPLIED
        return self.claimed.claimed_at_s if is_hidden else self.reevaluate_at_s

    @property
    def is_counted_removal(self) -> bool:
        """Whether a listed mentor would leave: what the mass change guard counts."""
        return takes_off_listing(self.command, self.before)

    @property
    def certification_id(self) -> str | None:
        """Of the facts that the last look has read."""
        return self.known.facts.certification_id if self.known.facts else None

    @property
    def is_held_by_letter(self) -> bool:
        """Whether a letter is open, and the look that time alone makes due is planned: so that a
        refusal that says the same need not be written. Where the plan was used up (at a renewed
        certificate's old end, by a late call's doubt) it is written once more, and the plan with it.
        """
        ledger, look_s = self.before, self.reevaluate_at_s
        return (
            ledger.state is LedgerState.DEAD_LETTERED
            and ledger.dead_letter_id is not None
            and (look_s is None or (ledger.reevaluate_at_s or inf) <= look_s)
        )

    def is_leaver(self, rules: Rules) -> bool:
        """Whether the mentor is no longer ours."""
        facts = self.known.facts
        return facts is None or facts.organization != rules.organization

    def is_spent(self, max_attempts: int) -> bool:
        """Whether each attempt ended with its process: a mentor that kills it ends as a dead letter,
        not as a crash loop.
        """
        is_open = self.before.state in {LedgerState.PENDING, LedgerState.IN_DOUBT}
        return is_open and self.before.attempt_count >= max_attempts


@dataclass(frozen=True, slots=True)
class Forget:
    """The evaluation is over: its changes are finished, with this outcome."""

    outcome: str


@dataclass(frozen=True, slots=True)
class Requeue:
    """There is no outcome yet: evaluate from fresh facts, `after_s` seconds from now."""

    after_s: float = 0.0


_AT_ONCE = Requeue()
_APPLIED, _DEAD_LETTERED = Forget("applied"), Forget("dead_lettered")
_NO_CALL, _OUT_OF_SCOPE = Forget("no_call"), Forget("out_of_scope")


def after(evaluation: Evaluation, *, is_durable: bool = True) -> Forget | Requeue:
    """What happens to the mentor after an evaluation that came to its conclusion.

    `is_durable`: the ledger has it. It has not where the mentor changed hands meanwhile: who lost a
    lease, or decided on an outdated row, looks again.
    """
    conclusion = evaluation.conclusion
    if not is_durable:
        return _AT_ONCE
    if conclusion.retry_in_s is not None:
        return Requeue(conclusion.retry_in_s)
    if conclusion.ending is Ending.APPLIED:
        return _APPLIED
    if conclusion.ending is not Ending.NO_CALL:
        return _DEAD_LETTERED
    decision = evaluation.decision
    is_strange = isinstance(decision, NoCall) and decision.is_out_of_scope
    return _OUT_OF_SCOPE if is_strange and not evaluation.known.has_ledger else _NO_CALL
