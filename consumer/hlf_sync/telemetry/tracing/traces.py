"""The traces of the mentors that this worker has in hand: implements the pipeline's `Tracer` on
OpenTelemetry.

A delivery's span begins with its oldest change's commit and ends with the outcome; the stages are
its children, each told when it is over. Who goes on with somebody else's delivery (the ledger's
`trace_parent`) hangs a span of its own below that one's. Spans go to a queue (export.py): nothing
here waits. Called on the event loop only.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from typing import ParamSpec

import structlog
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanKind,
    Status,
    StatusCode,
    set_span_in_context,
)
from opentelemetry.trace import Tracer as Spans

from hlf_sync.clock import epoch_ns
from hlf_sync.core.dead_letter import DeadLetter
from hlf_sync.core.evaluation import Evaluation
from hlf_sync.core.model import (
    Change,
    Command,
    Decision,
    LedgerRow,
    LedgerState,
    LetterKind,
    MarkedChange,
    MentorId,
    NoCall,
    Record,
    Refuse,
    Trigger,
)
from hlf_sync.telemetry.tracing.attributes import Value, attributes
from hlf_sync.telemetry.tracing.context import context_of, text_of

_log = structlog.get_logger()

# Changes of one evaluation that get a span of their own, and links; the rest are counted.
_MOST_CHANGES = 32
_MS = 1_000_000
_OPEN = {LedgerState.PENDING, LedgerState.IN_DOUBT}


@dataclass(frozen=True, slots=True)
class Places:
    """What spans say of where: topics and group, and the host of Dynamics."""

    topic: str
    letters_topic: str
    group: str
    host: str
    port: int = 443


@dataclass(slots=True)
class _Trace:
    """One mentor's delivery under way. `waits_since_ns` is when it began to wait for its next look;
    `told` are changes that have their span.
    """

    mentor_id: MentorId
    span: Span
    below: Context
    waits_since_ns: int
    told: set[tuple[int, int]] = field(default_factory=set)
    changes: int = 0


_P = ParamSpec("_P")


def _harmless(tell: Callable[_P, None]) -> Callable[_P, None]:
    """Telling never stops the work: a fault of ours, or of OpenTelemetry, costs spans and is
    logged, once for each teller.
    """
    is_said = False

    @wraps(tell)
    def harmless(*args: _P.args, **kwargs: _P.kwargs) -> None:
        nonlocal is_said
        try:
            tell(*args, **kwargs)
        except Exception:  # noqa: BLE001 - whatever it is, the mentor's work goes on
            if not is_said:
                is_said = True
                _log.exception("tracing_failed", stage=tell.__name__)

    return harmless


class Traces:
    """`Tracer`, for one worker."""

    def __init__(self, spans: Spans, places: Places, now_ns: Callable[[], int] = epoch_ns) -> None:
        self._spans = spans
        self._places = places
        self.now_ns = now_ns
        self._open: dict[MentorId, _Trace] = {}

    def mark(self, change: Change, record: Record) -> Change:
        """The change with its record's time and traceparent, and when it came in."""
        return MarkedChange(
            change.mentor_id,
            change.trigger,
            change.position,
            change.committed_ms,
            change.transaction_id,
            change.certification_id,
            change.dead_letter_id,
            kafka_ms=record.timestamp_ms,
            taken_ns=self.now_ns(),
            trace_parent=record.trace_parent,
        )

    @_harmless
    def looked(self, evaluation: Evaluation, began_ns: int) -> None:
        """Begin the trace or go on with it; tell what led here: the changes, the wait, the look."""
        known, decision = evaluation.known, evaluation.decision
        if decision is None:
            return
        if isinstance(decision, NoCall) and decision.is_out_of_scope and not known.has_ledger:
            return  # never ours
        trace = self._open.get(evaluation.mentor_id)
        if trace is None:
            trace = self._open[evaluation.mentor_id] = self._begin(evaluation, known.ledger)
        for change in _marked(evaluation):
            self._tell_change(trace, change)
        self._tell(trace, "wait", trace.waits_since_ns, began_ns)
        decided, reason = _decided(decision)
        self._tell(trace, "look", began_ns, self.now_ns(), decision=decided, reason=reason)

    def trace_parent(self, mentor_id: MentorId) -> str | None:
        """What the ledger keeps."""
        trace = self._open.get(mentor_id)
        return None if trace is None else text_of(trace.span.get_span_context())

    @_harmless
    def claimed(self, evaluation: Evaluation, began_ns: int) -> None:
        """The claim, with the second look under it."""
        claimed = evaluation.claimed
        if trace := self._open.get(evaluation.mentor_id):
            self._tell(
                trace,
                "claim",
                began_ns,
                self.now_ns(),
                generation=claimed.generation,
                attempt=claimed.attempt_number,
            )

    @_harmless
    def called(self, evaluation: Evaluation, began_ns: int) -> None:
        """The call, as HTTP clients are told."""
        result, conclusion = evaluation.result, evaluation.conclusion
        if result is not None and (trace := self._open.get(evaluation.mentor_id)):
            code = conclusion.error_code.value if conclusion.error_code else None
            self._tell(
                trace,
                "PATCH",
                began_ns,
                self.now_ns(),
                SpanKind.CLIENT,
                method="PATCH",
                host=self._places.host,
                port=self._places.port,
                status=result.http_status,
                operation=evaluation.operation.value,
                attempt=evaluation.claimed.attempt_number,
                correlation_id=result.correlation_id,
                outcome=conclusion.ending.value,
                error_code=code,
                retry_in_ms=(
                    None if conclusion.retry_in_s is None else int(conclusion.retry_in_s * 1000)
                ),
            )

    @_harmless
    def lettered(self, letter: DeadLetter, began_ns: int) -> None:
        """The letter; one about a record that nobody can read belongs to no delivery."""
        trace = (
            self._open.get(letter.mentor_id)
            if letter.mentor_id is not None and letter.kind is not LetterKind.UNDECODABLE
            else None
        )
        if trace is not None:
            topic = self._places.letters_topic
            self._tell(
                trace,
                f"send {topic}",
                began_ns,
                self.now_ns(),
                SpanKind.PRODUCER,
                system="kafka",
                step="send",
                destination=topic,
                letter_id=letter.id,
                letter_kind=letter.kind.value,
                generation=letter.generation,
                reason=letter.error_code,
            )

    @_harmless
    def recorded(self, mentor_id: MentorId, began_ns: int, *, is_recorded: bool) -> None:
        """The outcome in the ledger; a lost lease is told as an error."""
        if trace := self._open.get(mentor_id):
            self._tell(
                trace,
                "record",
                began_ns,
                self.now_ns(),
                error_code=None if is_recorded else "lease_lost",
            )

    @_harmless
    def waits(self, mentor_id: MentorId) -> None:
        """From now on it waits for its next look."""
        if trace := self._open.get(mentor_id):
            trace.waits_since_ns = self.now_ns()

    @_harmless
    def ended(self, mentor_id: MentorId, outcome: str) -> None:
        """The delivery's span ends; changes that come later begin a trace of their own."""
        if trace := self._open.pop(mentor_id, None):
            trace.span.set_attributes(attributes(outcome=outcome, changes=trace.changes))
            if outcome == "dead_lettered":
                trace.span.set_status(Status(StatusCode.ERROR))
            trace.span.end(max(self.now_ns(), _start_of(trace.span)))

    @_harmless
    def left(self, is_here: Callable[[MentorId], bool]) -> None:
        """End what has gone to another worker, which goes on with the trace if anything was
        claimed.
        """
        for mentor_id in [known for known in self._open if not is_here(known)]:
            self.ended(mentor_id, "left")

    def _begin(self, evaluation: Evaluation, ledger: LedgerRow) -> _Trace:
        marked = list(_marked(evaluation))
        kept = context_of(ledger.trace_parent)
        is_continued = kept is not None and (
            ledger.state in _OPEN
            or any(change.trigger is Trigger.REPLAY for change in evaluation.changes)
        )
        own = next((found for change in marked if (found := context_of(change.trace_parent))), None)
        parent, other = (
            (kept, own)
            if is_continued
            else (own, kept if ledger.state is LedgerState.DEAD_LETTERED else None)
        )
        committed_ns = min(
            (change.committed_ms * _MS for change in evaluation.changes), default=self.now_ns()
        )
        span = self._spans.start_span(
            "mentor change continued" if is_continued else "mentor change",
            context=set_span_in_context(NonRecordingSpan(parent)) if parent else Context(),
            kind=SpanKind.CONSUMER,
            attributes=attributes(
                system="kafka",
                step="process",
                destination=self._places.topic,
                group=self._places.group,
                mentor_id=evaluation.mentor_id,
                triggered_by=evaluation.changes[0].trigger.value if evaluation.changes else None,
            ),
            links=[Link(other)] if other else None,
            start_time=committed_ns,
        )
        taken_ns = min((change.taken_ns for change in marked), default=self.now_ns())
        return _Trace(evaluation.mentor_id, span, set_span_in_context(span), taken_ns)

    def _tell_change(self, trace: _Trace, change: MarkedChange) -> None:
        """The way into Kafka, once for each change; one that has a trace elsewhere is linked to
        it.
        """
        place = (change.position.partition, change.position.offset)
        if place in trace.told:
            return
        trace.changes += 1
        if trace.changes > _MOST_CHANGES:
            return
        trace.told.add(place)
        own, parent = context_of(change.trace_parent), getattr(trace.span, "parent", None)
        if own is not None and (parent is None or own.span_id != parent.span_id):
            trace.span.add_link(own)
        topic = self._places.topic
        self._tell(
            trace,
            f"send {topic}",
            change.committed_ms * _MS,
            change.kafka_ms * _MS,
            SpanKind.PRODUCER,
            system="kafka",
            step="send",
            destination=topic,
            partition=str(place[0]),
            offset=place[1],
            triggered_by=change.trigger.value,
            certification_id=change.certification_id,
        )

    def _tell(
        self,
        trace: _Trace,
        name: str,
        start_ns: int,
        end_ns: int,
        kind: SpanKind = SpanKind.INTERNAL,
        **said: Value | None,
    ) -> None:
        """One stage that is over. Clocks may differ: none ends before it begins."""
        named = attributes(
            mentor_id=trace.mentor_id, **said
        )  # on each: a stage is exported long before the delivery above it ends
        span = self._spans.start_span(
            name, context=trace.below, kind=kind, attributes=named, start_time=start_ns
        )
        if said.get("error_code") is not None:
            span.set_status(Status(StatusCode.ERROR))
        span.end(max(start_ns, end_ns))


def _marked(evaluation: Evaluation) -> Iterator[MarkedChange]:
    return (change for change in evaluation.changes if isinstance(change, MarkedChange))


def _decided(decision: Decision) -> tuple[str, str]:
    match decision:
        case NoCall(reason):
            return "no_call", reason
        case Command(operation, reason):
            return operation.value, reason
        case Refuse(error_code):
            return "refuse", error_code


def _start_of(span: Span) -> int:
    return getattr(span, "start_time", None) or 0
