"""What happened between two pictures, as lines for the bottom of the screen. Pure; called by the
command line once per turn.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hlf_sync.core.fleet_verdict import halt_words
from hlf_sync.top.headline import Level
from hlf_sync.top.picture import AWAY, Picture


@dataclass(frozen=True, slots=True)
class Event:
    """Something that changed, seen at `at_ms` (epoch)."""

    at_ms: int
    level: Level
    text: str


def happened(before: Picture, now: Picture, at_ms: int) -> list[Event]:
    """What changed from one picture to the next, worst first; what holds for all before what its
    workers say of it.
    """
    found = [
        Event(at_ms, level, text)
        for level, text in (*_fleet(before, now), *_members(before, now), *_errors(before, now))
    ]
    return sorted(found, key=lambda event: ("act", "watch", "good").index(event.level))


def _members(before: Picture, now: Picture) -> Iterator[tuple[Level, str]]:
    earlier = {member.address: member for member in before.members}
    moved: dict[tuple[str, str], list[str]] = {}
    for member in now.members:
        was = earlier.get(member.address)
        if was is None or was.verdict == member.verdict:
            continue
        if member.verdict == AWAY:
            yield "act", f"{member.name} {member.trouble}"
        elif was.verdict == AWAY:
            yield "good", f"{member.name} answers again"
        else:
            moved.setdefault((was.verdict, member.verdict), []).append(member.name)
    for (was_said, said), names in moved.items():
        who = names[0] if len(names) == 1 else f"{len(names)} workers"
        yield _mood(said), f"{who}: {was_said} → {said}"
    led, leads = (
        {member.name for member in picture.members if member.is_leader} for picture in (before, now)
    )
    for address in leads - led:
        yield "good", f"{address} leads now"


def _fleet(before: Picture, now: Picture) -> Iterator[tuple[Level, str]]:
    if before.circuit and now.circuit and before.circuit.state != now.circuit.state:
        code = f" ({now.circuit.last_error_code})" if now.circuit.last_error_code else ""
        yield (
            "good" if now.circuit.state == "closed" else "watch",
            f"circuit {before.circuit.state} → {now.circuit.state}{code}",
        )
    if now.verdict == AWAY:
        return  # nobody said that a halt was lifted
    for reason in [word for word in now.halted if word not in before.halted]:
        yield "act", f"halted: {halt_words(reason)}"
    for reason in [word for word in before.halted if word not in now.halted]:
        yield "good", f"halt lifted: {halt_words(reason)}"
    for name in [name for name in now.dependencies_down if name not in before.dependencies_down]:
        yield "act", f"{name} does not answer"
    for name in [name for name in before.dependencies_down if name not in now.dependencies_down]:
        yield "good", f"{name} answers again"


def _errors(before: Picture, now: Picture) -> Iterator[tuple[Level, str]]:
    for outcome, count in _more(before.calls, now.calls):
        if outcome != "ok":
            yield "watch", f"{outcome}: {count} call{'' if count == 1 else 's'}"
    for kind, count in _more(before.letter_kinds, now.letter_kinds):
        yield "act", f"{count} dead letter{'' if count == 1 else 's'}: {kind}"


def _more(before: Mapping[str, int], now: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """What grew. A worker that went away takes its counts along; when it is back they
    are no news.
    """
    for key, count in now.items():
        if key in before and count > before[key]:
            yield key, count - before[key]


def _mood(verdict: str) -> Level:
    return {"ok": "good", "lagging": "watch", "stalled": "watch"}.get(verdict, "act")  # type: ignore[return-value]
