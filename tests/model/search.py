"""All interleavings, breadth first: the first state that breaks an invariant, by the shortest way
that leads there. Used by test_model.py.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tests.model.protocol import Bugs, Step, interference, steps
from tests.model.state import Budget, Phase, State, beginning, canonical

Invariant = Callable[[State, list[Step]], str | None]


@dataclass(frozen=True)
class Found:
    """`broken` is None when everything holds; `way` leads from the beginning to what broke it."""

    states: int
    broken: str | None = None
    way: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.states:,} states; {self.broken or 'every invariant holds'}" + "".join(
            f"\n  {step}" for step in self.way
        )


def search(budget: Budget, bugs: Bugs = frozenset()) -> Found:
    """Look at every state that can be reached."""
    first = canonical(beginning(budget))
    came: dict[State, tuple[State, str] | None] = {first: None}
    waiting = deque([first])
    while waiting:
        state = waiting.popleft()
        own = list(steps(state, bugs))
        broken = _broken(state, own)
        if broken is not None:
            return Found(len(came), broken, _way(came, state))
        for name, following in (*own, *interference(state, bugs)):
            found = canonical(following)
            if found not in came:
                came[found] = (state, name)
                waiting.append(found)
    return Found(len(came))


def _broken(state: State, own: list[Step]) -> str | None:
    """Two workers' calls at once, a ledger that lies, or rest in a wrong state."""
    for mentor, (known, row) in enumerate(zip(state.mentors, state.rows, strict=True)):
        entries = [worker.entries[mentor] for worker in state.workers]
        callers = [
            e
            for e, worker in zip(entries, state.workers, strict=True)
            if e is not None and e.phase is Phase.AIR and not worker.is_frozen
        ]
        if len(callers) > 1 and all(entry.is_current for entry in callers):
            return f"two workers call for mentor {mentor} at once"
        wanted = (*(False,) * known.mapped, known.facts)
        if not own and known.shown != wanted:
            return f"at rest, mentor {mentor} shows {known.shown} and should show {wanted}"
        told = (row.about, row.applied, row.intended, row.owner)
        if not own and told != (known.mapped, known.facts, None, None):
            return f"at rest, the ledger of mentor {mentor} says {row}"
    if not own and state.log:
        return "at rest, records without an outcome"
    return None


def _way(came: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    way: list[str] = []
    step = came[state]
    while step is not None:
        way.append(step[1])
        step = came[step[0]]
    return tuple(reversed(way))
