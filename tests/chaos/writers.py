"""The application, as wild as it gets: random transactions on mentors and certifications. Started
by wave.py, one thread each.

A writer may lose its connection in a commit and never know what became of it: the history knows.
Each has a random stream of its own, so that a seed gives the same transactions, though not the same
timing.
"""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from math import inf
from random import Random
from typing import Any
from uuid import uuid4

import psycopg

from tests.chaos.people import People

CANARY = "Zanzibar-Quetzal"
"""Stands in every personal column; nothing of ours may ever show it."""

_STATUSES = ("paused", "active", "reinstated", "expired_cert")
# How long a commit may be streamed and visible to nobody, seconds: longer than it takes to reach a
# worker, on a busy machine too.
LONGEST_UNSEEN_S = 2.0

TURN = """
UPDATE app.mentor SET status = CASE WHEN status IN ('active', 'reinstated') THEN 'paused' ELSE 'reinstated' END WHERE id = ANY (%s::uuid[])
"""
"""Who is shown is hidden, and the other way round. Twice, and all is as before: paused by mistake, and reinstated."""


class Writer(threading.Thread):
    """One connection that never gives up."""

    def __init__(
        self, dsn: str, people: People, random: Random, *, pause_s: float, name: str
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._dsn, self._people, self._random, self._pause_s = dsn, people, random, pause_s
        self.ended = threading.Event()
        self.done: Counter[str] = Counter()
        self._owed: list[
            tuple[float, list[str]]
        ] = []  # when (monotonic), and whose mistake is to be undone
        deeds: dict[Callable[[psycopg.Connection], None], int] = {
            self._mistake: 12,
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
        """Write until told to end; what was turned by mistake is turned back even then."""
        while not self.ended.is_set() or self._owed:
            with (
                contextlib.suppress(psycopg.Error),
                psycopg.connect(self._dsn, autocommit=True, connect_timeout=3) as connection,
            ):
                while not self.ended.is_set() or self._owed:
                    self._turn_back(connection)
                    self._next_deed(connection)
            time.sleep(0.2)

    def _next_deed(self, connection: psycopg.Connection) -> None:
        soon_s = min((at_s for at_s, _ in self._owed), default=inf) - time.monotonic()
        if self.ended.is_set():
            time.sleep(max(0.0, soon_s) if self._owed else 0.0)
        elif not self.ended.wait(
            max(0.0, min(soon_s, self._random.expovariate(1 / self._pause_s)))
        ):
            (deed,) = self._random.choices(self._deeds, self._weights)
            deed(connection)
            self.done[deed.__name__.strip("_")] += 1

    def _turn_back(self, connection: psycopg.Connection) -> None:
        """Whose time has come; one that fails stays owed."""
        for owed in [one for one in self._owed if one[0] <= time.monotonic()]:
            self._turn(connection, owed[1])
            self._owed.remove(owed)
            self.done["turned back"] += 1

    def _mistake(self, connection: psycopg.Connection) -> None:
        """Paused by mistake and reinstated soon afterwards, or the other way round; then nobody
        touches them for the rest of the wave.
        """
        if chosen := self._people.take_steady(self._random.randint(1, 3)):
            self._owed.append(
                (time.monotonic() + self._random.choice([0.1, 0.3, 0.6, 1.0, 2.0, 3.0]), chosen)
            )
            self._turn(connection, chosen)

    def _turn(self, connection: psycopg.Connection, chosen: list[str]) -> None:
        if self._random.random() < 0.35:
            self._unseen(connection, TURN.encode(), chosen)
        else:
            connection.execute(TURN.encode(), (chosen,))

    def _one(self) -> str:
        return self._people.draw(self._random, 1)[0]

    def _status(self, connection: psycopg.Connection) -> None:
        chosen = self._people.draw(self._random, self._random.randint(1, 5))
        connection.execute(
            "UPDATE app.mentor SET status = %s WHERE id = ANY(%s::uuid[])",
            (self._random.choice(_STATUSES), chosen),
        )

    def _rollback(self, connection: psycopg.Connection) -> None:
        with connection.transaction(force_rollback=True):
            self._status(connection)
            self._renew(connection)

    def _renew(self, connection: psycopg.Connection) -> None:
        connection.execute(
            "UPDATE app.certification SET expires_at = now() + interval '1 year', status = 'valid'"
            " WHERE mentor_id = %s",
            (self._one(),),
        )

    def _lapse(self, connection: psycopg.Connection) -> None:
        seconds = self._random.uniform(0.2, 4)
        connection.execute(
            "UPDATE app.certification SET expires_at = now() + make_interval(secs => %s) WHERE"
            " mentor_id = %s",
            (seconds, self._one()),
        )

    def _revoke(self, connection: psycopg.Connection) -> None:
        connection.execute(
            "UPDATE app.certification SET status = 'revoked' WHERE mentor_id = %s", (self._one(),)
        )

    def _second_certificate(self, connection: psycopg.Connection) -> None:
        mentor_id, days = self._one(), self._random.choice([-3, 2, 500])
        connection.execute(
            "INSERT INTO app.certification SELECT %s, id, 'valid', now() + make_interval(days =>"
            " %s), %s FROM app.mentor WHERE id = %s",
            (uuid4(), days, CANARY, mentor_id),
        )

    def _newcomer(self, connection: psycopg.Connection) -> None:
        for mentor_id in self._people.take_spare(1):
            is_mapped = self._random.random() < 0.6
            with connection.transaction():
                settle(
                    connection,
                    [mentor_id],
                    self._random,
                    organization=self._random.choice(["HLF", "HLF", "OTHER"]),
                    is_mapped=is_mapped,
                )
            if not is_mapped:
                with self._people.lock:
                    self._people.unmapped.append(mentor_id)

    def _map(self, connection: psycopg.Connection) -> None:
        with self._people.lock:
            chosen = self._people.unmapped.pop() if self._people.unmapped else None
        if chosen is not None:
            try:
                connection.execute(
                    "INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s) ON CONFLICT DO NOTHING",
                    (chosen, chosen),
                )
            except psycopg.Error:
                self._people.unmapped.append(chosen)
                raise

    def _copy(self, connection: psycopg.Connection) -> None:
        chosen = self._people.take_spare(8)
        if not chosen:
            return
        with connection.transaction(), connection.cursor() as cursor:
            with cursor.copy(
                "COPY app.mentor (id, organization_code, status, full_name, email, phone) FROM"
                " STDIN"
            ) as copy:
                for mentor_id in chosen:
                    copy.write_row(
                        (
                            mentor_id,
                            "HLF",
                            self._random.choice(_STATUSES),
                            CANARY,
                            f"{CANARY}@example.org",
                            CANARY,
                        )
                    )
            with cursor.copy(
                "COPY app.certification (id, mentor_id, status, expires_at, notes) FROM STDIN"
            ) as copy:
                for mentor_id in chosen:
                    copy.write_row(
                        (str(uuid4()), mentor_id, "valid", "2099-01-01T00:00:00Z", CANARY)
                    )
            cursor.executemany(
                "INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)",
                [(one, one) for one in chosen],
            )

    def _remove(self, connection: psycopg.Connection) -> None:
        mentor_id = self._one()
        connection.execute("DELETE FROM app.mentor WHERE id = %s", (mentor_id,))
        if self._random.random() < 0.5:
            with connection.transaction():
                settle(connection, [mentor_id], self._random, is_mapped=False)

    def _move(self, connection: psycopg.Connection) -> None:
        connection.execute(
            "UPDATE app.mentor SET organization_code = CASE organization_code WHEN 'HLF' THEN"
            " 'OTHER' ELSE 'HLF' END WHERE id = %s AND phone IS DISTINCT FROM 'never'",
            (self._one(),),
        )

    def _odd(self, connection: psycopg.Connection) -> None:
        connection.execute(
            "UPDATE app.mentor SET status = 'vacationing' WHERE id = %s", (self._one(),)
        )

    def _personal(self, connection: psycopg.Connection) -> None:
        connection.execute(
            "UPDATE app.mentor SET full_name = %s, email = %s WHERE id = %s",
            (CANARY, f"{CANARY}@example.org", self._one()),
        )

    def _burst(self, connection: psycopg.Connection) -> None:
        mentor_id = self._one()
        for _ in range(25):
            connection.execute(
                "UPDATE app.mentor SET status = %s WHERE id = %s",
                (self._random.choice(_STATUSES), mentor_id),
            )

    def _invisible(self, connection: psycopg.Connection) -> None:
        chosen, status = self._people.draw(self._random, 2), self._random.choice(_STATUSES)
        self._unseen(
            connection,
            b"UPDATE app.mentor SET status = %s WHERE id = ANY (%s::uuid[])",
            status,
            chosen,
        )

    def _unseen(
        self, connection: psycopg.Connection, statement: bytes, *parameters: object
    ) -> None:
        """A commit that is streamed at once and seen by nobody until its wait for the standby is
        cancelled.
        """
        timer = threading.Timer(
            self._random.uniform(0.05, LONGEST_UNSEEN_S), connection.cancel_safe
        )
        with contextlib.suppress(psycopg.errors.QueryCanceled), connection.transaction():
            connection.execute("SET LOCAL synchronous_commit = on")
            connection.execute(statement, parameters)
            timer.start()
        timer.join()

    def _interleaved(self, connection: psycopg.Connection) -> None:
        """Two transactions open at once, over both tables; the first to begin commits last."""
        with psycopg.connect(self._dsn, connect_timeout=3) as other, connection.transaction():
            self._renew(connection)
            other.execute("SET lock_timeout = '200ms'")
            with contextlib.suppress(psycopg.errors.LockNotAvailable):
                other.execute(
                    "UPDATE app.mentor SET status = %s WHERE id = %s",
                    (self._random.choice(_STATUSES), self._one()),
                )
                other.commit()
            connection.execute("SET LOCAL lock_timeout = '200ms'")
            time.sleep(self._random.uniform(0, 0.2))

    def _request(self, connection: psycopg.Connection) -> None:
        chosen = self._people.draw(self._random, 3)
        connection.execute(
            "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by) SELECT id::uuid,"
            " 'manual_coordinator_action' FROM unnest(%s::text[]) id",
            (chosen,),
        )


def settle(
    connection: psycopg.Connection,
    mentor_ids: list[str],
    random: Random,
    *,
    organization: str = "HLF",
    is_mapped: bool = True,
    **row: Any,
) -> None:
    """Insert mentors with a certificate each."""
    for mentor_id in mentor_ids:
        connection.execute(
            "INSERT INTO app.mentor (id, organization_code, status, full_name, email, phone) VALUES"
            " (%s, %s, %s, %s, %s, %s)",
            (
                mentor_id,
                organization,
                row.get("status") or random.choice(_STATUSES),
                CANARY,
                f"{CANARY}@example.org",
                row.get("phone", CANARY),
            ),
        )
        connection.execute(
            "INSERT INTO app.certification VALUES (%s, %s, 'valid', now() + interval '1 year', %s)",
            (uuid4(), mentor_id, CANARY),
        )
        if is_mapped:
            connection.execute(
                "INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (mentor_id, mentor_id),
            )
