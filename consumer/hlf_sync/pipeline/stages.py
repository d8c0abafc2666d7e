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
    ledger, meter, tracer = outside.ledger, outside.meter, outside.tracer
    queue, assignment, pacing = MentorQueue(), Assignment(), Pacing(policies.pace)
    gate = Gate(outside.fleet, policies.breaker, dependencies, auth_retry_s=policies.auth_retry_s)
    completion = Completion(queue, assignment, meter, tracer)
    letters = DeadLetters(
        topic=outside.letters,
        ledger=ledger,
        gate=gate,
        completion=completion,
        assignment=assignment,
        meter=meter,
        limiter=Limiter(policies.limit),
        dependencies=dependencies,
        origin=policies.origin,
        tracer=tracer,
    )
    recording = Recording(
        ledger=ledger,
        completion=completion,
        letters=letters,
        meter=meter,
        dependencies=dependencies,
        tracer=tracer,
    )
    call = Call(
        dynamics=outside.dynamics,
        gate=gate,
        pacing=pacing,
        meter=meter,
        policy=CallPolicy(policies.rules, policies.retry, policies.request_timeout_s),
        random=chance,
        tracer=tracer,
    )
    delivery = Delivery(
        facts=outside.facts,
        ledger=ledger,
        gate=gate,
        pacing=pacing,
        call=call,
        letters=letters,
        recording=recording,
        completion=completion,
        dependencies=dependencies,
        rules=policies.rules,
        lease_s=policies.lease_s,
        tracer=tracer,
    )
    screening = Screening(
        queue=queue,
        facts=outside.facts,
        ledger=ledger,
        completion=completion,
        letters=letters,
        meter=meter,
        dependencies=dependencies,
        policy=ScreeningPolicy(
            policies.rules,
            policies.origin.worker,
            policies.is_shadow,
            policies.retry.max_attempts,
            policies.visibility,
            policies.view_patience_s,
        ),
        deliver=delivery.put,
        tracer=tracer,
    )
    sweeping = Sweeping(
        ledger=ledger, assignment=assignment, meter=meter, dependencies=dependencies
    )
    intake = Intake(
        decoder=outside.decoder,
        assignment=assignment,
        queue=queue,
        meter=meter,
        tracer=tracer,
        schemas=Schemas(outside.schemas, dependencies, patience_s=policies.schema_patience_s),
        undecodable=letters.undecodable,
        truncated=sweeping.truncated,
        unparked=completion.wake,
    )
    return Stages(
        assignment,
        queue,
        intake,
        screening,
        delivery,
        recording,
        letters,
        completion,
        sweeping,
        gate,
        pacing,
        ledger,
        dependencies,
        meter,
        tracer,
    )
