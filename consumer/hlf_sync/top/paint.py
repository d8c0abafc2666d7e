"""Several workers' looks as one `Picture`. Pure; called by the command line once per turn.

What each worker says of the whole fleet (circuit, halts) is told once, what it says of its own
partitions is added up.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from hlf_sync.core.fleet_verdict import MEANINGS, Reason, Standing
from hlf_sync.top.exposition import Page, grown, quantile
from hlf_sync.top.look import Look, Said, SaidQueue
from hlf_sync.top.picture import (
    AWAY,
    CaptureState,
    Member,
    OpenDeadLetters,
    Pace,
    Picture,
    StageLatency,
    WrongListings,
)

# From harmless to worst: the fleet is as well as its worst part.
_VERDICTS = tuple(standing.value for standing in Standing)
_ALLOWED = "hlf_sync_pace_requests_per_second"
_NO_REASON = frozenset({Reason.CAUGHT_UP, Reason.STANDBY})
# What a worker says of the whole fleet beside its one verdict; a halt must not hide an outage.
_DEPENDENCIES = {
    "kafka": Reason.KAFKA_DOWN,
    "postgresql": Reason.POSTGRESQL_DOWN,
    "schema_registry": Reason.REGISTRY_DOWN,
    "dead_letter_topic": Reason.LETTERS_UNWRITABLE,
}

_STAGE, _WAY, _CALL = (
    "hlf_sync_stage_seconds",
    "hlf_sync_commit_to_crm_seconds",
    "hlf_sync_dynamics_request_seconds",
)
STAGES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "commit → Kafka": (_STAGE, {"stage": "kafka"}),
    "→ decoded": (_STAGE, {"stage": "decoded"}),
    "→ decided": (_STAGE, {"stage": "decided"}),
    "→ called": (_STAGE, {"stage": "called"}),
    "→ recorded": (_STAGE, {"stage": "recorded"}),
    "the whole way": (_WAY, {}),
    "a call alone": (_CALL, {}),
}
"""The histograms that tell how long what takes, in the order of a change's way."""


def paint(
    looks: Sequence[Look], before: Sequence[Look] = (), seen_at_s: Mapping[str, float] | None = None
) -> Picture:
    """The picture of these looks; `before` are the same workers' earlier ones, for what is told per
    second.

    `seen_at_s` is when each worker answered last.
    """
    said = [look.said for look in looks if look.said is not None]
    members = [_member(look, (seen_at_s or {}).get(look.address)) for look in looks]
    leaders = [look for look in looks if look.said is not None and look.said.leader]
    return Picture(
        verdict=max((one.verdict for one in said), key=_weight, default=AWAY),
        reasons=_reasons(looks),
        members=members,
        circuit=max(
            (one.circuit for one in said),
            key=lambda circuit: circuit.state != "closed",
            default=None,
        ),
        delivery=said[0].delivery if said else None,
        halted=_union(one.halted for one in said),
        dependencies_down=_union(one.dependencies_down for one in said),
        lag=_lag(said),
        group_lag=_group_lag(leaders),
        freshness_s=max((one.freshness_s for one in said), default=0.0),
        queue=_queue(said),
        letters=_letters(leaders),
        wrong=_wrong(leaders),
        listing_age_s=leaders[0].said.listing_age_s if leaders and leaders[0].said else None,
        does_tell_listing=any(
            "listing_age_s" in one.said.model_fields_set for one in leaders if one.said is not None
        ),
        source=_source(leaders[0].page) if leaders else None,
        held_removals=int(leaders[0].page.total("hlf_sync_held_removals")) if leaders else 0,
        paused=(
            {
                scope: int(count)
                for scope, count in leaders[0].page.by("hlf_sync_paused", "scope").items()
            }
            if leaders
            else {}
        ),
        pace=_pace(looks, before),
        stages=_stages(looks, before),
        calls=_counted(looks, _calls),
        letter_kinds=_counted(looks, lambda page: page.by("hlf_sync_dead_letters_total", "kind")),
    )


def _weight(verdict: str) -> int:
    return _VERDICTS.index(verdict) if verdict in _VERDICTS else len(_VERDICTS)


def _reasons(looks: Sequence[Look]) -> list[Reason]:
    """Everything that any worker gives as a reason."""
    found = {reason for look in looks for reason in _reasons_of(look)} - _NO_REASON
    return sorted(
        found, key=lambda reason: (-_weight(MEANINGS[reason].standing), list(Reason).index(reason))
    )


def _reasons_of(look: Look) -> Iterator[Reason]:
    if look.said is None:
        return
    yield from [Reason(word) for word in look.said.halted if word in set(Reason)]
    if look.said.leader and look.said.dead_letters_open:
        yield Reason.DEAD_LETTERS_OPEN
    if look.said.circuit.state != "closed":
        yield Reason.CIRCUIT_OPEN
    reason = _reason(look.page)
    if reason is not None:
        yield reason
    for name, is_up in look.page.by("hlf_sync_dependency_up", "dependency").items():
        if not is_up and name in _DEPENDENCIES:
            yield _DEPENDENCIES[name]


def _reason(page: Page) -> Reason | None:
    """The one reason of a worker's verdict; None from a worker that gives none we know."""
    return next(
        (
            Reason(word)
            for word, holds in page.by("hlf_sync_verdict", "reason").items()
            if holds and word in set(Reason)
        ),
        None,
    )


def _wrong(leaders: Sequence[Look]) -> WrongListings | None:
    if not leaders or not leaders[0].page.has("hlf_sync_listing_wrong_mentors"):
        return None
    page = leaders[0].page
    mentors = {
        wanted: int(count)
        for wanted, count in page.by("hlf_sync_listing_wrong_mentors", "wanted").items()
        if count
    }
    return WrongListings(
        mentors,
        max(page.by("hlf_sync_listing_wrong_oldest_seconds", "wanted").values(), default=0.0),
    )


def _source(page: Page) -> CaptureState:
    ages = page.by("hlf_sync_heartbeat_age_seconds", "end")
    return CaptureState(
        connector=_holding(page.by("hlf_sync_connector_state", "state", part="connector")),
        task=_holding(page.by("hlf_sync_connector_state", "state", part="task")),
        slot=_holding(page.by("hlf_sync_slot_wal_status", "status")),
        heartbeat_s=ages.get("kafka"),
    )


def _holding(values: Mapping[str, float]) -> str | None:
    """Which of a metric's states is the one that holds."""
    return next((value for value, holds in values.items() if holds), None)


def _member(look: Look, seen_at_s: float | None) -> Member:
    if look.said is None:
        return Member(
            look.address, AWAY, look.trouble, None if seen_at_s is None else look.at_s - seen_at_s
        )
    said = look.said
    mentors = said.queue.dirty + said.queue.in_progress + said.queue.waiting
    return Member(
        look.address,
        said.verdict,
        partitions=len(said.assignment),
        lag=sum(said.lag.values()),
        freshness_s=said.freshness_s,
        mentors=mentors,
        is_leader=said.leader,
        reason=_reason(look.page),
    )


def _lag(said: Iterable[Said]) -> dict[str, int]:
    """Per partition. While one changes hands two workers may name it: the larger figure is the
    careful one.
    """
    lag: dict[str, int] = {}
    for one in said:
        for partition, records in one.lag.items():
            lag[partition] = max(records, lag.get(partition, 0))
    return dict(sorted(lag.items(), key=lambda item: _place(item[0])))


def _group_lag(leaders: Sequence[Look]) -> int | None:
    name = "hlf_sync_group_lag_records"
    return int(leaders[0].page.total(name)) if leaders and leaders[0].page.has(name) else None


def _place(partition: str) -> tuple[str, int]:
    topic, _, number = partition.rpartition("-")
    return topic, int(number) if number.isdecimal() else 0


def _queue(said: Sequence[Said]) -> SaidQueue:
    return SaidQueue(
        dirty=sum(one.queue.dirty for one in said),
        in_progress=sum(one.queue.in_progress for one in said),
        waiting=sum(one.queue.waiting for one in said),
    )


def _letters(leaders: Sequence[Look]) -> OpenDeadLetters:
    if not leaders or leaders[0].said is None:
        return OpenDeadLetters()
    oldest_s = leaders[0].page.total("hlf_sync_dead_letter_oldest_seconds")
    return OpenDeadLetters(
        leaders[0].said.dead_letters_open, oldest_s if leaders[0].said.dead_letters_open else None
    )


def _pace(looks: Sequence[Look], before: Sequence[Look]) -> Pace | None:
    pairs = [(now, then) for now in looks for then in before if _is_pair(now, then)]
    if not pairs:
        return None

    def per_s(name: str) -> float:
        return sum(
            _rate(now.page.total(name), then.page.total(name), now.at_s - then.at_s)
            for now, then in pairs
        )

    return Pace(
        calls=per_s("hlf_sync_dynamics_requests_total"),
        changes=per_s("hlf_sync_changes_total"),
        evaluations=per_s("hlf_sync_evaluations_total"),
        allowed=(
            sum(now.page.total(_ALLOWED) for now, _ in pairs)
            if any(now.page.has(_ALLOWED) for now, _ in pairs)
            else None
        ),
    )


def _is_pair(now: Look, then: Look) -> bool:
    return (
        now.address == then.address
        and now.said is not None
        and then.said is not None
        and now.at_s > then.at_s
    )


def _rate(now: float, then: float, seconds: float) -> float:
    """A counter that fell belongs to a worker that started anew: all it has counted is new."""
    return (now - then if now >= then else now) / seconds


def _stages(looks: Sequence[Look], before: Sequence[Look]) -> list[StageLatency]:
    """Over what was observed since the looks before, when anything was, else since the workers
    started: one time for the whole table.
    """
    earlier = {look.address: look.page for look in before}
    ever = {title: _buckets(looks, *histogram, {}) for title, histogram in STAGES.items()}
    lately = {title: _buckets(looks, *histogram, earlier) for title, histogram in STAGES.items()}
    has_news = bool(earlier) and any(max(one.values(), default=0) for one in lately.values())
    shown = lately if has_news else ever
    return [
        StageLatency(
            title,
            int(max(shown[title].values(), default=0)),
            quantile(shown[title], 0.5),
            quantile(shown[title], 0.99),
        )
        for title, found in ever.items()
        if found
    ]


def _buckets(
    looks: Sequence[Look], name: str, labels: Mapping[str, str], earlier: Mapping[str, Page]
) -> dict[float, float]:
    """The counts of all workers, less those of their earlier pages."""
    total: dict[float, float] = {}
    for look in looks:
        now = look.page.buckets(name, **labels)
        known = earlier.get(look.address)
        if known is not None:
            now = grown(now, known.buckets(name, **labels))
        elif earlier:
            continue  # a worker that is seen for the first time: nothing of it is known to be new
        _add(total, now)
    return total


def _add(total: dict[float, float], more: Mapping[float, float]) -> None:
    for bound, count in more.items():
        total[bound] = total.get(bound, 0.0) + count


def _calls(page: Page) -> dict[str, float]:
    return page.by("hlf_sync_dynamics_requests_total", "outcome")


def _counted(looks: Iterable[Look], count: Callable[[Page], Mapping[str, float]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for look in looks:
        for key, value in count(look.page).items():
            total[key] = total.get(key, 0) + int(value)
    return total


def _union(lists: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(item for items in lists for item in items))
