"""The circuit breaker that the whole fleet shares: may a call start, and what does its outcome
change (requirements R29, R30)?

    closed ──threshold failures in a row──▶ open ──cool-down passed──▶ half-open ──its one probe succeeds──▶ closed
                                             ▲                             │
                                             └──────── its probe fails ────┘

Pure transitions over a frozen `Circuit`: each returns the next one, or the very same object when
nothing changes (then there is nothing to write). The record room keeps it as one row and changes it
by compare-and-set, so two workers never both win a transition. Times are epoch seconds by
PostgreSQL's clock; a state is told by timestamps alone, so a restart keeps it. Rules that are easy
to get wrong:

- Only the probe's owner moves a half-open circuit. An abandoned probe neither closes nor opens it. An owner that died is replaced after `probe_s`.
- A call that began before the circuit opened may answer afterwards: it neither closes an open circuit, nor prolongs it, nor, after it has
  closed again, counts for the new count (`started_s` against `closed_at_s`).
- Who is the probe decides for everybody, so one bad contact could keep the circuit open for ever. The mentors whose failures
  opened it, and those who were a probe since, are suspects: a probe is taken for somebody else while anybody else waits
  (`choose`), by the suspects in their turn (who was the probe last comes last), and by a suspect only `yield_s` later than by
  others, whom another worker may have. One success clears all of them.
- A 429 pauses everybody and is not a failure; neither is a 401. A 503's Retry-After is a lower bound for the cool-down.
- An outage does not consume attempts: a failure counts as an attempt only where `counts_attempt` says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from hlf_sync.core.model import MentorId

MOST_SUSPECTS = 500
"""Of a long outage's probes the oldest are forgotten."""


class State(StrEnum):
    """The three states, as the metric and the table name them."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """After how many failures in a row it opens, for how long, and how long a probe may take before
    another worker may try.
    """

    failure_threshold: int = 3
    cool_down_s: float = 60.0
    probe_s: float = 60.0

    @property
    def yield_s(self) -> float:
        """How much later than others a suspect may be the probe."""
        return min(1.0, self.cool_down_s / 2)


@dataclass(frozen=True, slots=True)
class Circuit:
    """One organisation's circuit. `opened_at_s` is None while closed, `closed_at_s` None until it
    closed for the first time.

    `retry_after_until_s`: until then nobody calls, whatever the state (a 429's pause, or a 503's
    word for the cool-down). `suspects`: whose failures opened it and who was a probe since, the
    latest last.
    """

    state: State = State.CLOSED
    failure_count: int = 0
    opened_at_s: float | None = None
    last_error_code: str | None = None
    probe_owner: str | None = None
    probe_until_s: float | None = None
    retry_after_until_s: float | None = None
    closed_at_s: float | None = None
    suspects: tuple[MentorId, ...] = ()


@dataclass(frozen=True, slots=True)
class Go:
    """Start the call."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Start no call before `until_s`."""

    until_s: float


@dataclass(frozen=True, slots=True)
class Probe:
    """Only as the one probe: `take_probe` first."""


Admission = Go | Wait | Probe
_GO, _PROBE = Go(), Probe()


def admit(circuit: Circuit, policy: BreakerPolicy, now_s: float) -> Admission:
    """May a call start now?"""
    until_s = _ready_s(circuit, policy)
    if now_s < until_s:
        return Wait(until_s)
    return _GO if circuit.state is State.CLOSED else _PROBE


def choose(circuit: Circuit, waiting: Iterable[MentorId]) -> MentorId | None:
    """Who is to be the probe, of those who wait (oldest first): the oldest who is not a suspect, else
    the suspect whose turn is longest ago.
    """
    turns = {mentor_id: turn for turn, mentor_id in enumerate(circuit.suspects, 1)}
    return min(waiting, key=lambda mentor_id: turns.get(mentor_id, 0), default=None)


def probe_at_s(circuit: Circuit, policy: BreakerPolicy, mentor_id: MentorId) -> float:
    """When this mentor may be the probe: a suspect gives way to whom another worker may have, and
    the latest one to the other suspects.
    """
    ready_s = _ready_s(circuit, policy)
    if mentor_id not in circuit.suspects:
        return ready_s
    return ready_s + policy.yield_s * (2 if circuit.suspects[-1] == mentor_id else 1)


def take_probe(
    circuit: Circuit, policy: BreakerPolicy, owner: str, now_s: float, *, mentor_id: MentorId
) -> Circuit | None:
    """The circuit with `owner` as its probe, or None when there is none to be had. `owner` names
    one call of one worker, never used again; `mentor_id` is whom it is for.
    """
    if admit(circuit, policy, now_s) != _PROBE or now_s < probe_at_s(circuit, policy, mentor_id):
        return None
    return replace(
        circuit,
        state=State.HALF_OPEN,
        probe_owner=owner,
        probe_until_s=now_s + policy.probe_s,
        suspects=_suspected(circuit, mentor_id),
    )


def cooled(circuit: Circuit, policy: BreakerPolicy, now_s: float) -> Circuit:
    """Open becomes half-open by time alone. Nothing waits for it: with nothing to deliver it stays
    half-open.
    """
    if circuit.state is State.OPEN and admit(circuit, policy, now_s) == _PROBE:
        return replace(circuit, state=State.HALF_OPEN)
    return circuit


def succeeded(circuit: Circuit, owner: str | None, now_s: float, *, started_s: float) -> Circuit:
    """A call proved that Dynamics works. `owner` as given to `take_probe`, None for an ordinary
    call; `started_s` is when the call began.
    """
    if circuit.state is State.HALF_OPEN and _owns_probe(circuit, owner):
        return Circuit(retry_after_until_s=circuit.retry_after_until_s, closed_at_s=now_s)
    if (
        circuit.state is State.CLOSED
        and circuit.failure_count
        and _is_of_this_time(circuit, started_s)
    ):
        return replace(circuit, failure_count=0, suspects=())
    return circuit


def failed(
    circuit: Circuit,
    policy: BreakerPolicy,
    owner: str | None,
    now_s: float,
    *,
    error_code: str,
    started_s: float,
    mentor_id: MentorId,
    retry_after_s: float | None = None,
) -> Circuit:
    """A call for this mentor failed in a way that counts for the breaker."""
    until_s = _later(circuit.retry_after_until_s, now_s + retry_after_s if retry_after_s else None)
    if circuit.state is State.HALF_OPEN and _owns_probe(circuit, owner):
        return _opened(circuit, now_s, error_code, until_s)
    if circuit.state is not State.CLOSED:
        # A late answer. What it says of when to come back is still true; it changes nothing else.
        return (
            circuit
            if until_s == circuit.retry_after_until_s
            else replace(circuit, retry_after_until_s=until_s)
        )
    if not _is_of_this_time(circuit, started_s):
        return circuit
    circuit = replace(circuit, suspects=_suspected(circuit, mentor_id))
    if circuit.failure_count + 1 >= policy.failure_threshold:
        return _opened(circuit, now_s, error_code, until_s)
    return replace(circuit, failure_count=circuit.failure_count + 1, last_error_code=error_code)


def abandoned(circuit: Circuit, owner: str | None, now_s: float) -> Circuit:
    """The probe came to no judgement (cancelled, a 401, no longer needed): half-open, and free for
    the next. Its mentor has had its turn.
    """
    if circuit.state is State.HALF_OPEN and _owns_probe(circuit, owner):
        return replace(circuit, probe_owner=None, probe_until_s=now_s)
    return circuit


def throttled(circuit: Circuit, until_s: float, owner: str | None = None) -> Circuit:
    """Dynamics asked for a pause: nobody calls before `until_s`. A probe that met it is free for
    the next.
    """
    circuit = abandoned(circuit, owner, until_s)
    later_s = _later(circuit.retry_after_until_s, until_s)
    return (
        circuit
        if later_s == circuit.retry_after_until_s
        else replace(circuit, retry_after_until_s=later_s)
    )


def counts_attempt(circuit: Circuit, owner: str | None) -> bool:
    """Whether a failure counts as an attempt of its mentor; `circuit` as it was before this
    failure.

    Those that open the circuit do; the calls that were in flight beside them, and probes, are the
    outage's.
    """
    return circuit.state is State.CLOSED and owner is None


def _ready_s(circuit: Circuit, policy: BreakerPolicy) -> float:
    return max(_not_before_s(circuit, policy), circuit.retry_after_until_s or 0.0)


def _suspected(circuit: Circuit, mentor_id: MentorId) -> tuple[MentorId, ...]:
    others = tuple(other for other in circuit.suspects if other != mentor_id)
    return (*others[1 - MOST_SUSPECTS :], mentor_id)


def _not_before_s(circuit: Circuit, policy: BreakerPolicy) -> float:
    if circuit.state is State.CLOSED:
        return 0.0
    cooled_s = (circuit.opened_at_s or 0.0) + policy.cool_down_s
    return max(circuit.probe_until_s or 0.0, cooled_s)


def _opened(circuit: Circuit, now_s: float, error_code: str, until_s: float | None) -> Circuit:
    return Circuit(
        state=State.OPEN,
        failure_count=circuit.failure_count + 1,
        opened_at_s=now_s,
        last_error_code=error_code,
        retry_after_until_s=until_s,
        closed_at_s=circuit.closed_at_s,
        suspects=circuit.suspects,
    )


def _owns_probe(circuit: Circuit, owner: str | None) -> bool:
    return owner is not None and circuit.probe_owner == owner


def _is_of_this_time(circuit: Circuit, started_s: float) -> bool:
    """Whether the call began after the circuit closed last: one from before the outage says nothing
    about now.
    """
    return circuit.closed_at_s is None or started_s >= circuit.closed_at_s


def _later(first_s: float | None, second_s: float | None) -> float | None:
    return max((value for value in (first_s, second_s) if value is not None), default=None)
