"""What a person may look at while a chaos run goes on. Written by run.py, wave.py and lanes.py,
read by report.py.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.fleet import Fleet
from tests.chaos.writers import Writer


@dataclass
class Progress:
    """Counts of the whole run. `deck` are the ambushes still to come before each may come again."""

    phase: str = "starting"
    wave: int = 0
    began_s: float = field(default_factory=time.monotonic)
    faults: Counter[str] = field(default_factory=Counter)
    last: str = ""
    fleet: Fleet | None = None
    writers: list[Writer] = field(default_factory=list)
    deck: list[Callable[..., Any]] = field(default_factory=list)
    strikes: list[tuple[str, str]] = field(default_factory=list)  # UTC time of day, fault
    rests_s: list[float] = field(default_factory=list)  # how long each wave took to come to rest
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, fault: str) -> None:
        """One more; from any thread."""
        with self._lock:
            self.faults[fault] += 1
            self.strikes.append((time.strftime("%H:%M:%S", time.gmtime()), fault))

    def say(self, what: str) -> None:
        """What happens just now."""
        self.last = what

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.began_s

    @property
    def struck(self) -> int:
        """Faults that did strike."""
        return self.faults.total() - self.faults["(could not strike)"]

    @property
    def deeds(self) -> Counter[str]:
        """What the writers did."""
        return sum((writer.done for writer in self.writers), Counter[str]())
