"""Who there is in a chaos run: who is written to wildly, who is turned once and left alone, and who
never is ours. Shared by writers and ambushes.
"""

import threading
from dataclasses import dataclass, field
from random import Random

_MOST = 150


@dataclass(slots=True)
class People:
    """Whoever draws from it is a thread of its own.

    `mentors` are written to all the time, so that a wrong state of theirs is soon overwritten. The
    `steady` have a valid certificate, nobody asks for them, and each is turned and turned back at
    most once a wave: what that leaves wrong stays wrong until the wave's audit. `spare` are ids
    whose contact exists and who are not mentors yet; `strangers`, some of `mentors`, are another
    organisation's all the time, and shown.
    """

    mentors: list[str]
    steady: list[str]
    spare: list[str]
    strangers: frozenset[str]
    unmapped: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _fresh: list[str] = field(default_factory=list)
    _kept: int = 0

    @property
    def everybody(self) -> list[str]:
        """Also those who may come."""
        return [*self.mentors, *self.steady, *self.spare]

    def draw(self, random: Random, count: int) -> list[str]:
        """Some of those who are written to all the time."""
        with self.lock:
            return random.sample(self.mentors, min(count, len(self.mentors)))

    def take_spare(self, count: int) -> list[str]:
        """New ones; none when there are enough."""
        with self.lock:
            if len(self.mentors) + count > _MOST or len(self.spare) < count:
                return []
            taken, self.spare[:] = self.spare[:count], self.spare[count:]
            self.mentors += taken
            return taken

    def begin_wave(self, random: Random) -> None:
        """Everybody steady may be turned once more; a third is kept for the calm."""
        with self.lock:
            self._fresh, self._kept = (
                random.sample(self.steady, len(self.steady)),
                len(self.steady) // 3,
            )

    def become_calm(self) -> None:
        """What was kept may be had now."""
        self._kept = 0

    def take_steady(self, count: int) -> list[str]:
        """So many who have not been turned in this wave; none when they are used up."""
        with self.lock:
            if len(self._fresh) - count < self._kept:
                return []
            taken, self._fresh[:] = self._fresh[:count], self._fresh[count:]
            return taken
