"""The application, as wild as it gets: random transactions on mentors and certifications. Started by run.py, one thread each.

A writer may lose its connection in a commit and never know what became of it: the history knows. Each has a random stream of its own, so that a seed
gives the same transactions, though not the same timing.
"""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import uuid4

import psycopg

CANARY = "Zanzibar-Quetzal"
"""Stands in every personal column; nothing of ours may ever show it."""

_STATUSES = ("paused", "active", "reinstated", "expired_cert")
_MOST = 150


@dataclass(slots=True)
class People:
    """Who there is: shared by the writers.

    `spare` are ids whose contact exists and who are no mentors yet;
    `strangers` are another organisation's all the time, and shown.
    """

    mentors: list[str]
    spare: list[str]
    strangers: frozenset[str]
    unmapped: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def draw(self, random: Random, count: int) -> list[str]:
        """Some of them."""
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


class Writer(threading.Thread):
    """One connection that never gives up."""

    def __init__(self, dsn: str, people: People, random: Random, *, pause_s: float, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._dsn, self._people, self._random, self._pause_s = dsn, people, random, pause_s
        self.ended = threading.Event()
        self.done: Counter[str] = Counter()
        deeds: dict[Callable[[psycopg.Connection], None], int] = {
            self._status: 30,
            self._rollback: 6,
            self._renew: 8,
            self._lapse: 6,
            self._revoke: 4,
            self._second_certificate: 4,
            self._newcomer: 4,
            self._copy: 2,
            self._remove: 2,
            self._move: 3,
            self._odd: 2,
            self._personal: 3,
            self._burst: 2,
            self._invisible: 5,
            self._interleaved: 3,
            self._request: 3,
            self._map: 3,
        }
        self._deeds, self._weights = list(deeds), list(deeds.values())

    def run(self) -> None:
        """Write until told to end."""
        while not self.ended.is_set():
            with contextlib.suppress(psycopg.Error), psycopg.connect(self._dsn, autocommit=True, connect_timeout=3) as connection:
                while not self.ended.wait(self._random.expovariate(1 / self._pause_s)):
                    (deed,) = self._random.choices(self._deeds, self._weights)
                    deed(connection)
                    self.done[deed.__name__.strip("_")] += 1
            self.ended.wait(0.2)

    def _one(self) -> str:
        return self._people.draw(self._random, 1)[0]

    def _status(self, connection: psycopg.Connection) -> None:
        chosen = self._people.draw(self._random, self._random.randint(1, 5))
        connection.execute("UPDATE app.mentor SET status = %s WHERE id = ANY(%s::uuid[])", (self._random.choice(_STATUSES), chosen))

    def _rollback(self, connection: psycopg.Connection) -> None:
        with connection.transaction(force_rollback=True):
            self._status(connection)
            self._renew(connection)

    def _renew(self, connection: psycopg.Connection) -> None:
        connection.execute(
            "UPDATE app.certification SET expires_at = now() + interval '1 year', status = 'valid' WHERE mentor_id = %s", (self._one(),)
        )

    def _lapse(self, connection: psycopg.Connection) -> None:
        seconds = self._random.uniform(0.2, 4)
        connection.execute("UPDATE app.certification SET expires_at = now() + make_interval(secs => %s) WHERE mentor_id = %s", (seconds, self._one()))

    def _revoke(self, connection: psycopg.Connection) -> None:
        connection.execute("UPDATE app.certification SET status = 'revoked' WHERE mentor_id = %s", (self._one(),))

    def _second_certificate(self, connection: psycopg.Connection) -> None:
        mentor_id, days = self._one(), self._random.choice([-3, 2, 500])
        connection.execute(
            "INSERT INTO app.certification SELECT %s, id, 'valid', now() + make_interval(days => %s), %s FROM app.mentor WHERE id = %s",
            (uuid4(), days, CANARY, mentor_id),
        )

    def _newcomer(self, connection: psycopg.Connection) -> None:
        for mentor_id in self._people.take_spare(1):
            is_mapped = self._random.random() < 0.6
            with connection.transaction():
                settle(connection, [mentor_id], self._random, organization=self._random.choice(["HLF", "HLF", "OTHER"]), is_mapped=is_mapped)
            if not is_mapped:
                with self._people.lock:
                    self._people.unmapped.append(mentor_id)

    def _map(self, connection: psycopg.Connection) -> None:
        with self._people.lock:
            chosen = self._people.unmapped.pop() if self._people.unmapped else None
        if chosen is not None:
            try:
                connection.execute("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s) ON CONFLICT DO NOTHING", (chosen, chosen))
            except psycopg.Error:
                self._people.unmapped.append(chosen)
                raise

    def _copy(self, connection: psycopg.Connection) -> None:
        chosen = self._people.take_spare(8)
        if not chosen:
            return
        with connection.transaction(), connection.cursor() as cursor:
            with cursor.copy("COPY app.mentor (id, organization_code, status, full_name, email, phone) FROM STDIN") as copy:
                for mentor_id in chosen:
                    copy.write_row((mentor_id, "HLF", self._random.choice(_STATUSES), CANARY, f"{CANARY}@example.org", CANARY))
            with cursor.copy("COPY app.certification (id, mentor_id, status, expires_at, notes) FROM STDIN") as copy:
                for mentor_id in chosen:
                    copy.write_row((str(uuid4()), mentor_id, "valid", "2099-01-01T00:00:00Z", CANARY))
            cursor.executemany("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", [(one, one) for one in chosen])

    def _remove(self, connection: psycopg.Connection) -> None:
        mentor_id = self._one()
        connection.execute("DELETE FROM app.mentor WHERE id = %s", (mentor_id,))
        if self._random.random() < 0.5:
            with connection.transaction():
                settle(connection, [mentor_id], self._random, is_mapped=False)

    def _move(self, connection: psycopg.Connection) -> None:
        connection.execute(
            "UPDATE app.mentor SET organization_code = CASE organization_code WHEN 'HLF' THEN 'OTHER' ELSE 'HLF' END"
            " WHERE id = %s AND phone IS DISTINCT FROM 'never'",
            (self._one(),),
        )

    def _odd(self, connection: psycopg.Connection) -> None:
        connection.execute("UPDATE app.mentor SET status = 'vacationing' WHERE id = %s", (self._one(),))

    def _personal(self, connection: psycopg.Connection) -> None:
        connection.execute("UPDATE app.mentor SET full_name = %s, email = %s WHERE id = %s", (CANARY, f"{CANARY}@example.org", self._one()))

    def _burst(self, connection: psycopg.Connection) -> None:
        mentor_id = self._one()
        for _ in range(25):
            connection.execute("UPDATE app.mentor SET status = %s WHERE id = %s", (self._random.choice(_STATUSES), mentor_id))

    def _invisible(self, connection: psycopg.Connection) -> None:
        """A commit that is streamed at once and seen by nobody until its wait for the standby is cancelled."""
        chosen, seconds = self._people.draw(self._random, 2), self._random.uniform(0.05, 1.2)
        timer = threading.Timer(seconds, connection.cancel_safe)
        with contextlib.suppress(psycopg.errors.QueryCanceled), connection.transaction():
            connection.execute("SET LOCAL synchronous_commit = on")
            status = self._random.choice(_STATUSES)
            connection.execute("UPDATE app.mentor SET status = %s WHERE id = ANY(%s::uuid[])", (status, chosen))
            timer.start()
        timer.join()

    def _interleaved(self, connection: psycopg.Connection) -> None:
        """Two transactions open at once, over both tables; the first to begin commits last."""
        with psycopg.connect(self._dsn, connect_timeout=3) as other, connection.transaction():
            self._renew(connection)
            other.execute("SET lock_timeout = '200ms'")
            with contextlib.suppress(psycopg.errors.LockNotAvailable):
                other.execute("UPDATE app.mentor SET status = %s WHERE id = %s", (self._random.choice(_STATUSES), self._one()))
                other.commit()
            connection.execute("SET LOCAL lock_timeout = '200ms'")
            time.sleep(self._random.uniform(0, 0.2))

    def _request(self, connection: psycopg.Connection) -> None:
        chosen = self._people.draw(self._random, 3)
        connection.execute(
            "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by) SELECT id::uuid, 'manual_coordinator_action' FROM unnest(%s::text[]) id",
            (chosen,),
        )


def settle(
    connection: psycopg.Connection, mentor_ids: list[str], random: Random, *, organization: str = "HLF", is_mapped: bool = True, **row: Any
) -> None:
    """Insert mentors with a certificate each."""
    for mentor_id in mentor_ids:
        connection.execute(
            "INSERT INTO app.mentor (id, organization_code, status, full_name, email, phone) VALUES (%s, %s, %s, %s, %s, %s)",
            (mentor_id, organization, row.get("status") or random.choice(_STATUSES), CANARY, f"{CANARY}@example.org", row.get("phone", CANARY)),
        )
        connection.execute("INSERT INTO app.certification VALUES (%s, %s, 'valid', now() + interval '1 year', %s)", (uuid4(), mentor_id, CANARY))
        if is_mapped:
            connection.execute("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s) ON CONFLICT DO NOTHING", (mentor_id, mentor_id))
