"""A worker's stages, put together from what lies outside and from its policies. Called by the
wiring, and by tests with scripts outside.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import random

from hlf_sync.core.breaker import BreakerPolicy
from hlf_sync.core.decide import Rules
from hlf_sync.core.limiter import Limiter, LimitPolicy
from hlf_sync.core.mentor_queue import MentorQueue
from hlf_sync.core.pacing import Pacing, PacingPolicy
from hlf_sync.core.retry import RetryPolicy
from hlf_sync.core.visibility import VisibilityPolicy
from hlf_sync.pipeline.assignment import Assignment
from hlf_sync.pipeline.call import Call, CallPolicy
from hlf_sync.pipeline.completion import Completion
from hlf_sync.pipeline.dead_letter_forms import Origin
from hlf_sync.pipeline.dead_letters import DeadLetters
from hlf_sync.pipeline.delivery import Delivery
from hlf_sync.pipeline.gate import Gate
from hlf_sync.pipeline.intake import Decodes, Intake
from hlf_sync.pipeline.meter import Meter
from hlf_sync.pipeline.patience import Dependencies
from hlf_sync.pipeline.recording import Recording
from hlf_sync.pipeline.schemas import SchemaPort, Schemas
from hlf_sync.pipeline.screening import Screening, ScreeningPolicy
from hlf_sync.pipeline.sweeping import Sweeping
from hlf_sync.pipeline.tracer import NoTracer, Tracer
from hlf_sync.ports import DynamicsPort, FactsPort, FleetPort, LedgerPort, LettersPort


@dataclass(frozen=True, slots=True)
class Outside:
    """What the stages act on."""

    dynamics: DynamicsPort
    facts: FactsPort
    ledger: LedgerPort
    fleet: FleetPort
    letters: LettersPort
    decoder: Decodes
    schemas: SchemaPort
    meter: Meter
    tracer: Tracer = field(default_factory=NoTracer)


@dataclass(frozen=True, slots=True)
class Policies:
    """How they act; times in seconds. `origin` names this worker and its topic, as in leases and
    letters.
    """

    origin: Origin
    rules: Rules
    retry: RetryPolicy
    breaker: BreakerPolicy
    pace: PacingPolicy
    limit: LimitPolicy
    request_timeout_s: float
    lease_s: float
    is_shadow: bool
    visibility: VisibilityPolicy = field(default_factory=VisibilityPolicy)
    view_patience_s: float = 60.0
    auth_retry_s: float = 30.0
    schema_patience_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Stages:
    """Everything a worker is made of."""

    assignment: Assignment
    queue: MentorQueue
    intake: Intake
    screening: Screening
    delivery: Delivery
    recording: Recording
    letters: DeadLetters
    completion: Completion
    sweeping: Sweeping
    gate: Gate
    pacing: Pacing
    ledger: LedgerPort
    dependencies: Dependencies
    meter: Meter
    tracer: Tracer


def assemble(
    outside: Outside,
    policies: Policies,
    dependencies: Dependencies,
    chance: Callable[[], float] = random,
) -> Stages:
    """Build the stages and connect them; nothing runs yet."""
    build = _Build(outside, policies, dependencies)
    letters = build.letters()
    recording = build.recording(letters)
    delivery = build.delivery(build.call(chance), letters, recording)
    sweeping = build.sweeping()
    return Stages(
        assignment=build.assignment,
        queue=build.queue,
        intake=build.intake(letters, sweeping),
        screening=build.screening(letters, delivery),
        delivery=delivery,
        recording=recording,
        letters=letters,
        completion=build.completion,
        sweeping=sweeping,
        gate=build.gate,
        pacing=build.pacing,
        ledger=outside.ledger,
        dependencies=dependencies,
        meter=outside.meter,
        tracer=outside.tracer,
    )


class _Build:
    """What several stages share, and how each is made from it."""

    def __init__(self, outside: Outside, policies: Policies, dependencies: Dependencies) -> None:
        self._outside = outside
        self._policies = policies
        self._dependencies = dependencies
        self.queue, self.assignment = MentorQueue(), Assignment()
        self.pacing = Pacing(policies.pace)
        self.gate = Gate(
            outside.fleet, policies.breaker, dependencies, auth_retry_s=policies.auth_retry_s
        )
        self.completion = Completion(self.queue, self.assignment, outside.meter, outside.tracer)

    def letters(self) -> DeadLetters:
        return DeadLetters(
            topic=self._outside.letters,
            ledger=self._outside.ledger,
            gate=self.gate,
            completion=self.completion,
            assignment=self.assignment,
            meter=self._outside.meter,
            limiter=Limiter(self._policies.limit),
            dependencies=self._dependencies,
            origin=self._policies.origin,
            tracer=self._outside.tracer,
        )

    def recording(self, letters: DeadLetters) -> Recording:
        return Recording(
            ledger=self._outside.ledger,
            completion=self.completion,
            letters=letters,
            meter=self._outside.meter,
            dependencies=self._dependencies,
            tracer=self._outside.tracer,
        )

    def call(self, chance: Callable[[], float]) -> Call:
        policies = self._policies
        return Call(
            dynamics=self._outside.dynamics,
            gate=self.gate,
            pacing=self.pacing,
            meter=self._outside.meter,
            policy=CallPolicy(policies.rules, policies.retry, policies.request_timeout_s),
            random=chance,
            tracer=self._outside.tracer,
        )

    def delivery(self, call: Call, letters: DeadLetters, recording: Recording) -> Delivery:
        return Delivery(
            facts=self._outside.facts,
            ledger=self._outside.ledger,
            gate=self.gate,
            pacing=self.pacing,
            call=call,
            letters=letters,
            recording=recording,
            completion=self.completion,
            dependencies=self._dependencies,
            rules=self._policies.rules,
            lease_s=self._policies.lease_s,
            tracer=self._outside.tracer,
        )

    def screening(self, letters: DeadLetters, delivery: Delivery) -> Screening:
        policies = self._policies
        return Screening(
            queue=self.queue,
            facts=self._outside.facts,
            ledger=self._outside.ledger,
            completion=self.completion,
            letters=letters,
            meter=self._outside.meter,
            dependencies=self._dependencies,
            policy=ScreeningPolicy(
                policies.rules,
                policies.origin.worker,
                policies.is_shadow,
                policies.retry.max_attempts,
                policies.visibility,
                policies.view_patience_s,
            ),
            deliver=delivery.put,
            tracer=self._outside.tracer,
        )

    def sweeping(self) -> Sweeping:
        return Sweeping(
            ledger=self._outside.ledger,
            assignment=self.assignment,
            meter=self._outside.meter,
            dependencies=self._dependencies,
        )

    def intake(self, letters: DeadLetters, sweeping: Sweeping) -> Intake:
        patience_s = self._policies.schema_patience_s
        return Intake(
            decoder=self._outside.decoder,
            assignment=self.assignment,
            queue=self.queue,
            meter=self._outside.meter,
            tracer=self._outside.tracer,
            schemas=Schemas(self._outside.schemas, self._dependencies, patience_s=patience_s),
            undecodable=letters.undecodable,
            truncated=sweeping.truncated,
            unparked=self.completion.wake,
        )
