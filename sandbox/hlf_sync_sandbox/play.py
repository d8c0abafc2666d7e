"""The application played by hand: mentors who come, are paused, renew, lapse and leave, written into
its own tables as it would write them, and their contacts in the emulated Dynamics.

Called by `play_cli`. Speaks as the database's superuser, like the demo; nothing of hlf-sync's is
used, so what is done here is no more than the application could do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import psycopg

from hlf_sync_sandbox.demo import cast
from hlf_sync_sandbox.demo.application import Application
from hlf_sync_sandbox.dynamics.control import DynamicsControl
from hlf_sync_sandbox.errors import ArgumentError

# Ids of ours hold the mentor's number, which so stays a mentor's for good.
_LIST = """
SELECT m.id::text, m.organization_code, m.status,
       (SELECT extract(epoch FROM max(c.expires_at) - now())::float8 FROM app.certification c
         WHERE c.mentor_id = m.id AND c.status <> 'revoked'),
       map.contact_id::text
  FROM app.mentor m LEFT JOIN hlf_sync.contact_mapping map ON map.mentor_id = m.id
 ORDER BY m.id
"""
# Also of those who were deleted: their mappings stay.
_LAST = """
SELECT coalesce(max(right(id, 12)::bigint), 0)::int
  FROM (SELECT id::text FROM app.mentor UNION SELECT mentor_id::text FROM hlf_sync.contact_mapping) AS known
 WHERE id ~ %s
"""
_OURS = r"^000000a1-0000-4000-8000-[0-9]{12}$"


@dataclass(frozen=True, slots=True)
class Mentor:
    """One of them; `number` is None where others chose the id. `left_s`: of the certificate, None
    without one; `is_shown`: by Dynamics, None where the column was never set or there is no such
    contact.
    """

    mentor_id: str
    organization: str
    status: str
    left_s: float | None
    contact_id: str | None
    is_shown: bool | None

    @property
    def number(self) -> int | None:
        """By which `sandbox app` knows it."""
        prefix, _, digits = self.mentor_id.rpartition("-")
        is_ours = prefix == "000000a1-0000-4000-8000" and digits.isdecimal()
        return int(digits) if is_ours else None


class Play:
    """A connection of the application, and the emulator."""

    def __init__(self, dsn: str, dynamics: DynamicsControl) -> None:
        self._dynamics = dynamics
        self._application = Application(dsn)
        self._connection = psycopg.connect(dsn, autocommit=True, application_name="hlf-sync-play")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._application.__exit__()
        self._connection.close()

    def mentors(self) -> list[Mentor]:
        """Everybody."""
        shown: Mapping[str, bool | None] = self._dynamics.contacts()
        rows = self._connection.execute(_LIST).fetchall()
        return [
            Mentor(mentor_id, organization, status, left_s, contact_id, shown.get(contact_id))
            for mentor_id, organization, status, left_s, contact_id in rows
        ]

    def add(self, count: int, *, organization: str = "HLF", is_mapped: bool = True) -> list[str]:
        """New mentors, active, certified for a year, each with a contact and a mapping to it; their
        ids. Without a mapping hlf-sync cannot know whom to call for.
        """
        row = self._connection.execute(_LAST, (_OURS,)).fetchone()
        first = (row[0] if row else 0) + 1
        made = [
            cast.Mentor(number, organization=organization) for number in range(first, first + count)
        ]
        # Before anybody may be called for: a contact that does not exist would be a dead letter.
        self._dynamics.put_contacts({one.contact_id: None for one in made})
        self._application.add(made, is_mapped=is_mapped)
        return [one.id for one in made]

    def map(self, mentor_id: str) -> None:
        """Give it a contact of its own, and say which."""
        one = next(one for one in self.mentors() if one.mentor_id == mentor_id)
        if one.contact_id is not None:
            raise ArgumentError(
                f"{mentor_id} is mapped already",
                f"nothing; `hlf-sync why {mentor_id}` says how she is",
            )
        if one.number is None:
            raise ArgumentError(
                f"{mentor_id} has an id of somebody else's choosing",
                "insert into hlf_sync.contact_mapping by hand: `hlf-sync sandbox psql`",
            )
        mentor = cast.Mentor(one.number)
        self._dynamics.put_contacts({mentor.contact_id: None})
        self._application.map([mentor])

    def find(self, text: str) -> str:
        """A mentor's id by its number or by itself. Raises `ArgumentError`."""
        everybody = self.mentors()
        for one in everybody:
            if text.lower() in {str(one.number), one.mentor_id}:
                return one.mentor_id
        there = f"there are {len(everybody)}" if everybody else "there is nobody yet"
        raise ArgumentError(
            f"no mentor has the number or id {text!r}; {there}",
            "`sandbox app list` shows everybody, `sandbox seed 20` makes some",
        )

    def do(self, act: str, mentor_id: str, **values: Any) -> None:
        """One of ACTS, in a transaction of its own."""
        with self._connection.transaction():
            ACTS[act](self._connection, mentor_id, **values)


def _status(status: str) -> Callable[..., None]:
    def act(connection: psycopg.Connection, mentor_id: str) -> None:
        connection.execute(
            "UPDATE app.mentor SET status = %s, updated_at = now() WHERE id = %s",
            (status, mentor_id),
        )

    return act


def _renew(connection: psycopg.Connection, mentor_id: str) -> None:
    connection.execute(
        "INSERT INTO app.certification (id, mentor_id, status, expires_at)"
        " VALUES (gen_random_uuid(), %s, 'issued', now() + interval '1 year')",
        (mentor_id,),
    )


def _lapse(connection: psycopg.Connection, mentor_id: str, seconds: float = 0.0) -> None:
    connection.execute(
        "UPDATE app.certification SET expires_at = now() + make_interval(secs => %s)"
        " WHERE mentor_id = %s",
        (seconds, mentor_id),
    )


def _revoke(connection: psycopg.Connection, mentor_id: str) -> None:
    connection.execute(
        "UPDATE app.certification SET status = 'revoked' WHERE mentor_id = %s", (mentor_id,)
    )


def _delete(connection: psycopg.Connection, mentor_id: str) -> None:
    connection.execute("DELETE FROM app.mentor WHERE id = %s", (mentor_id,))


def _move(connection: psycopg.Connection, mentor_id: str, organization: str = "OTHER") -> None:
    connection.execute(
        "UPDATE app.mentor SET organization_code = %s, updated_at = now() WHERE id = %s",
        (organization, mentor_id),
    )


# By the command's name.
ACTS: dict[str, Callable[..., None]] = {
    "pause": _status("paused"),
    "reinstate": _status("reinstated"),
    "renew": _renew,
    "lapse": _lapse,
    "revoke": _revoke,
    "delete": _delete,
    "move": _move,
}
