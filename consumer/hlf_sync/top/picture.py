"""One picture of the fleet: its verdict, what stands in the way, how far behind, how fast. Values
only; `paint` makes it, `screen` draws it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hlf_sync.core.fleet_verdict import Reason
from hlf_sync.top.look import SaidCircuit, SaidQueue

AWAY = "away"
"""The verdict of a worker that does not answer."""


@dataclass(frozen=True, slots=True)
class Member:
    """One worker in the picture. `away_s` is how long it has not answered, None while it does or
    when it never did.
    """

    address: str
    verdict: str
    trouble: str | None = None
    away_s: float | None = None
    partitions: int = 0
    lag: int = 0
    freshness_s: float = 0.0
    mentors: int = 0
    is_leader: bool = False
    reason: Reason | None = None

    @property
    def name(self) -> str:
        """As people say it."""
        return self.address.removeprefix("http://")


@dataclass(frozen=True, slots=True)
class Pace:
    """Per second, between two looks; `allowed` is what pacing lets the fleet call now, None when no
    worker says.
    """

    calls: float
    changes: float
    evaluations: float
    allowed: float | None = None


@dataclass(frozen=True, slots=True)
class StageLatency:
    """How long one part of the way takes: seconds, None before the first observation."""

    name: str
    count: int
    p50_s: float | None
    p99_s: float | None


@dataclass(frozen=True, slots=True)
class OpenDeadLetters:
    """Open dead letters, as the leader counts them; None while no leader is seen."""

    open: int | None = None
    oldest_s: float | None = None


@dataclass(frozen=True, slots=True)
class WrongListings:
    """Mentors whose listing is, or may be, wrong by the ledger, by what it should show; as the
    leader counts them.
    """

    mentors: Mapping[str, int]
    oldest_s: float


@dataclass(frozen=True, slots=True)
class CaptureState:
    """PostgreSQL's log → Debezium → Kafka, as the leader sees it; None: it cannot say."""

    connector: str | None = None
    task: str | None = None
    slot: str | None = None
    heartbeat_s: float | None = None

    @property
    def is_well(self) -> bool:
        """Whether nothing of it asks for a look; heartbeats come every 10 s."""
        runs = {self.connector, self.task} <= {"running", None} and self.slot in {
            "reserved",
            "extended",
            None,
        }
        return runs and (self.heartbeat_s or 0.0) < _SILENT_S


# As the verdict's source_silent.
_SILENT_S = 60.0


@dataclass(frozen=True, slots=True)
class Picture:
    """The fleet now. `reasons` are all that is known, worst first. `listing_age_s`: when the leader
    compared facts and ledger last; None: never. `does_tell_listing`: the leader is of a version that
    says it. `calls` and `letter_kinds` are
    counters since the workers started. `unreachable`: workers that only their own host can ask.
    """

    verdict: str
    reasons: Sequence[Reason]
    members: Sequence[Member]
    circuit: SaidCircuit | None
    delivery: str | None
    halted: Sequence[str]
    dependencies_down: Sequence[str]
    lag: Mapping[str, int]
    group_lag: int | None
    freshness_s: float
    queue: SaidQueue
    letters: OpenDeadLetters
    wrong: WrongListings | None = None
    listing_age_s: float | None = None
    does_tell_listing: bool = False
    source: CaptureState | None = None
    held_removals: int = 0
    paused: Mapping[str, int] = field(default_factory=dict)
    pace: Pace | None = None
    stages: Sequence[StageLatency] = ()
    calls: Mapping[str, int] = field(default_factory=dict)
    letter_kinds: Mapping[str, int] = field(default_factory=dict)
    unreachable: int = 0

    @property
    def is_cut(self) -> bool:
        """Whether nobody can say what has come into Kafka since."""
        return Reason.KAFKA_DOWN in self.reasons

    @property
    def away(self) -> list[Member]:
        """The workers that do not answer."""
        return [member for member in self.members if member.verdict == AWAY]
