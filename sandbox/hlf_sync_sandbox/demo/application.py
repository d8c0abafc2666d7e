"""The application's side: what it would write into its own tables, and what the facts say of
everybody. Called by the story and the verdict.

Here speaks the application, as the database's superuser: nothing of `consumer` is used, so the
expectation is independent of its decisions.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString, Self

import psycopg

from hlf_sync_sandbox.demo.cast import Mentor

_EXPECTED = """
SELECT m.id::text,
       m.organization_code = 'HLF',
       map.contact_id::text,
       m.status IN ('active', 'reinstated')
         AND EXISTS (SELECT FROM app.certification c WHERE c.mentor_id = m.id AND c.status <> 'revoked' AND c.expires_at > now())
  FROM app.mentor m LEFT JOIN hlf_sync.contact_mapping map ON map.mentor_id = m.id
"""
_COMMITTED = (
    "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000 FROM app.mentor WHERE id = %s"
)
_OPEN_LETTER = (
    "SELECT error_code FROM hlf_sync.dynamics_sync_failures WHERE mentor_id = %s AND resolved_at IS"
    " NULL"
)
_UNSETTLED = (
    "SELECT count(*) FROM hlf_sync.mentor_ledger WHERE intended IS NOT NULL OR state IN ('pending',"
    " 'in_doubt', 'dead_lettered')"
)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the facts say of one mentor. A mentor that is not ours is not to be touched."""

    mentor_id: str
    is_ours: bool
    contact_id: str | None
    is_shown: bool


class Application:
    """A connection of the application. Every method commits before it returns."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True, application_name="hlf-sync-demo")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def add(self, mentors: Sequence[Mentor], *, is_mapped: bool = True) -> None:
        """Insert mentors with their certificates, and their mappings."""
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, %s, %s)",
                [(mentor.id, mentor.organization, mentor.status) for mentor in mentors],
            )
            cursor.executemany(
                "INSERT INTO app.certification (id, mentor_id, status, expires_at) VALUES (%s, %s,"
                " 'issued', now() + make_interval(secs => %s))",
                [
                    (mentor.certification_id, mentor.id, mentor.certificate_s)
                    for mentor in mentors
                    if mentor.certificate_s is not None
                ],
            )
        if is_mapped:
            self.map(mentors)

    def map(self, mentors: Iterable[Mentor]) -> None:
        """Say which contact in Dynamics each one is."""
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO hlf_sync.contact_mapping (mentor_id, contact_id) VALUES (%s, %s)",
                [(mentor.id, mentor.contact_id) for mentor in mentors],
            )

    def set_status(self, mentor: Mentor, status: str) -> None:
        """One change of one mentor, in a transaction of its own."""
        self._connection.execute(
            "UPDATE app.mentor SET status = %s, updated_at = now() WHERE id = %s",
            (status, mentor.id),
        )

    def set_statuses(self, mentors: Iterable[Mentor], status: str) -> None:
        """One transaction for all of them."""
        self._connection.execute(
            "UPDATE app.mentor SET status = %s WHERE id = ANY (%s::uuid[])",
            (status, [mentor.id for mentor in mentors]),
        )

    def end_certificate(self, mentor: Mentor, seconds: float) -> None:
        """Let its certificate end so many seconds from now."""
        self._connection.execute(
            "UPDATE app.certification SET expires_at = now() + make_interval(secs => %s) WHERE id"
            " = %s",
            (seconds, mentor.certification_id),
        )

    def certify(self, mentor: Mentor) -> None:
        """A new certificate for a year."""
        self._connection.execute(
            "INSERT INTO app.certification (id, mentor_id, status, expires_at) VALUES"
            " (gen_random_uuid(), %s, 'issued', now() + interval '1 year')",
            (mentor.id,),
        )

    def committed_ms(self, mentor: Mentor) -> float:
        """When its row was last committed, by PostgreSQL's own record."""
        return float(self._one(_COMMITTED, mentor.id))

    def open_letter(self, mentor: Mentor) -> str | None:
        """The error code of its open dead letter."""
        found: str | None = self._one(_OPEN_LETTER, mentor.id)
        return found

    def unsettled(self) -> int:
        """How many mentors have a call outstanding, in doubt, or a dead letter."""
        return int(self._one(_UNSETTLED))

    def expected(self) -> list[Expectation]:
        """What the facts say now, of every mentor."""
        return [Expectation(*row) for row in self._connection.execute(_EXPECTED)]

    def _one(self, query: LiteralString, *values: object) -> Any:
        row = self._connection.execute(query, values).fetchone()
        return row[0] if row else None
