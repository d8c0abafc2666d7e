"""Kafka in a simulated world: a topic's partitions, a group that moves them about, and the source
of one worker.

Commits of who does not own a partition any more are refused, as a broker refuses them. At each
commit that counts, every record below it must have an outcome that is durable.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from hlf_sync.core.model import MentorId, Record, Trigger

from tests.simulation.books import Books

PARTITIONS = 2
_LONGEST_POLL_S = 0.3


class Member(Protocol):
    """What a source needs of its worker."""

    def records(self, records: list[Record]) -> None: ...


@dataclass(frozen=True)
class Written:
    """A record, and what it tells to who sees everything: which of its mentor's commits it is, and
    when it was written. `version` 0 is a request, which wants a look of its own.
    """

    record: Record
    mentor_id: MentorId | None
    version: int
    at_s: float


@dataclass
class Topic:
    """Partitions, committed offsets, owners."""

    books: Books
    partitions: list[list[Written]] = field(default_factory=lambda: [[] for _ in range(PARTITIONS)])
    committed: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    owners: list[str | None] = field(default_factory=lambda: [None] * PARTITIONS)
    lettered: set[str] = field(default_factory=set)
    restored_at_s: float = 0.0  # what a restored database has forgotten cannot be asked of it

    def change(self, mentor_id: MentorId, trigger: Trigger, xid: int | None, version: int) -> None:
        """A row change or a request."""
        fields = {"trigger": trigger.value, "xid": xid}
        self._append(mentor_id, json.dumps(fields).encode(), version)

    def garbage(self, mentor_id: MentorId) -> None:
        """A record that nobody can read, whose key names a mentor."""
        self._append(mentor_id, b"\x00garbage", -1)

    def _append(self, mentor_id: MentorId, value: bytes, version: int) -> None:
        now_s = self.books.moment_s
        number = partition_of(mentor_id)
        log = self.partitions[number]
        record = Record(number, len(log), mentor_id.encode(), value, int(self.books.now_s * 1000))
        log.append(Written(record, mentor_id, version, now_s))

    def commit(self, owner: str, offsets: Mapping[int, int]) -> None:
        for number, offset in offsets.items():
            if self.owners[number] != owner:
                continue
            for written in self.partitions[number][self.committed[number] : offset]:
                if written.at_s >= self.restored_at_s:
                    self._check(written)
            self.committed[number] = max(offset, self.committed[number])

    def _check(self, written: Written) -> None:
        mentor_id, record = written.mentor_id, written.record
        where = f"{record.partition}-{record.offset}"
        if written.version < 0:
            if not any(letter.endswith(f"-{where}") for letter in self.lettered):
                self.books.wrong.append(f"{where} is committed, and its letter is not written")
            return
        found = self.books.evidence.get(mentor_id) if mentor_id else None
        is_covered = found is not None and (
            found.version >= written.version if written.version else found.at_s >= written.at_s
        )
        if not is_covered:
            self.books.wrong.append(
                f"{where} of {mentor_id} is committed without a durable outcome: {written}, {found}"
            )

    @property
    def is_drained(self) -> bool:
        return self.committed == [len(log) for log in self.partitions]


class Source:
    """What the consumer thread is to a worker."""

    def __init__(
        self, topic: Topic, owner: str, chance: Random, spawn: Callable[..., asyncio.Task[None]]
    ) -> None:
        self._topic, self._owner, self._chance, self._spawn = topic, owner, chance, spawn
        self.member: Member | None = None
        self.positions: dict[int, int] = {}
        self._offsets: Mapping[int, int] = {}
        self._is_paused = False
        self._task: asyncio.Task[None] | None = None
        self.left = asyncio.Event()

    @property
    def is_alive(self) -> bool:
        return True

    def start(self) -> None:
        self._task = self._spawn(self._read())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._topic.commit(self._owner, self._offsets)
        self.left.set()

    def commit_soon(self, offsets: Mapping[int, int]) -> None:
        self._offsets = offsets

    def pause(self, *, is_paused: bool) -> None:
        self._is_paused = is_paused

    async def _read(self) -> None:
        while True:
            await asyncio.sleep(self._chance.uniform(0.01, _LONGEST_POLL_S))
            self._topic.commit(self._owner, self._offsets)
            for number, position in list(self.positions.items()):
                log = self._topic.partitions[number]
                batch = log[position : position + self._chance.randint(1, 5)]
                if batch and not self._is_paused and self.member is not None:
                    self.positions[number] = position + len(batch)
                    self.member.records([written.record for written in batch])


def partition_of(mentor_id: MentorId) -> int:
    """By the id's last digit: no hash that differs from process to process."""
    return int(mentor_id[-1], 16) % PARTITIONS
