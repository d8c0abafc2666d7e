"""What an operator asks of the fleet, with the operator's own database credentials: plain functions
over PostgreSQL. Called by the command line.

None of them calls Dynamics: a request is a row in `sync_request`, which comes back through the one
door.
"""

import getpass
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple, cast
from uuid import UUID

from hlf_sync.config.settings import Settings
from hlf_sync.core.decide import Rules, due
from hlf_sync.core.model import Command, HaltReason, MentorId, NoCall, Operation, Refuse
from hlf_sync.errors import HaltError, SettingsError
from hlf_sync.ports import Known
from hlf_sync.postgres import comparison, delivery_blockers
from hlf_sync.postgres.facts import read_now
from hlf_sync.postgres.one_connection import OperatorConnection, operator_connection
from hlf_sync.postgres.pauses import act_as, in_force
from hlf_sync.postgres.selection import unknown
from hlf_sync.postgres.statements import operator as sql
from hlf_sync.postgres.statements import sync_request
from hlf_sync.postgres.sweeping import Sweep, SweepOrder

Connection = OperatorConnection

_AT_ONCE = 1_000


@contextmanager
def connected(settings: Settings) -> Iterator[Connection]:
    """A connection with the DSN of the settings; raises `DependencyError`."""
    settings.require("postgres_dsn")
    dsn = settings.postgres_dsn.get_secret_value() if settings.postgres_dsn else ""
    with operator_connection(dsn, "hlf-sync-operate") as found:
        yield found


def operator() -> str:
    """Who asks, for the audit."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid-{os.getuid()}"


def mentor(text: str) -> MentorId:
    """A mentor's id as given on the command line; raises `SettingsError`."""
    try:
        return MentorId(str(UUID(text)))
    except ValueError:
        message = f"{text!r} is not a mentor id (a UUID, for example 6f1a1f3c-0000-4000-8000-000000000001)"
        raise SettingsError(message) from None


def ask(connection: Connection, mentor_id: MentorId, triggered_by: str, reason: str) -> int:
    """Ask for one mentor's evaluation (`force`): one row in `sync_request`; the request's id."""
    row = connection.execute(
        sync_request.BY_FORCE, (mentor_id, triggered_by, operator(), reason)
    ).fetchone()
    return int(row["id"]) if row else 0


def require_known(connection: Connection, mentor_ids: Sequence[MentorId]) -> None:
    """Raise `SettingsError` for mentors whom neither the application nor the ledger has: a slip in
    an id would look like a success.
    """
    if missing := unknown(connection, mentor_ids):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise SettingsError(
            f"nobody knows {missing[0]}{more}: neither the application's mentors nor the ledger have"
            f" {'them' if more else 'it'}; nothing was done"
        )


def is_handled(
    connection: Connection, mentor_id: MentorId, before: dict[str, Any] | None, rules: Rules
) -> bool:
    """Whether somebody has looked since `before`, and nothing is under way.

    A look that finds nothing to do is noted in the ledger row; where there is none, or a letter
    says the same already, it is enough to see that.
    """
    reading, row = read_now(connection, [mentor_id]), ledger_row(connection, mentor_id)
    known = reading.mentors[mentor_id]
    decision = due(known, known.ledger, reading.now_s, rules)
    if row is None:
        return isinstance(decision, NoCall)
    has_moved = before is None or row["updated_at"] != before["updated_at"]
    says_the_same = row["state"] == "dead_lettered" and (
        isinstance(decision, Refuse) or known.contact_id is None
    )
    return (
        row["state"] not in {"pending", "in_doubt"}
        and row["lease_owner"] is None
        and (has_moved or says_the_same)
    )


class Swept(NamedTuple):
    """`asked`: None where everybody was asked for. `compared`: None where nobody was compared. `at`
    is PostgreSQL's clock.
    """

    requests: int
    at: datetime
    asked: Sequence[MentorId] | None
    compared: int | None = None


def sweep(connection: Connection, reason: str, rules: Rules) -> Swept:
    """Compare everybody in the view and in the ledger, and ask for those of whom something is due
    or open.
    """
    sweep = Sweep(SweepOrder(rules, operator(), reason))
    at, first, asked, compared = _now(connection), comparison.FIRST, list[MentorId](), 0
    while True:
        with connection.transaction():
            found = sweep.page(connection, first)
        asked += found.restless
        compared += found.looked_at
        if found.next_id is None:
            return Swept(len(asked), at, asked, compared)
        first = found.next_id


def ask_all(connection: Connection, reason: str, only: Sequence[MentorId] | None = None) -> Swept:
    """Ask for everybody in the view and in the ledger, or for these."""
    values = (operator(), reason, None if only is None else list(only))
    with connection.transaction():
        at = _now(connection)
        count = connection.execute(sync_request.BY_SWEEP_OF_ALL, values).rowcount
    return Swept(count, at, only)


def _now(connection: Connection) -> datetime:
    row = connection.execute(sql.NOW).fetchone()
    assert row is not None  # noqa: S101 - SELECT without FROM
    return cast("datetime", row["now"])


def is_swept(
    connection: Connection,
    asked_at: datetime,
    rules: Rules,
    *,
    is_shadow: bool,
    only: Sequence[MentorId] | None = None,
) -> bool:
    """Whether everybody, or all of these, have been looked at since and none is under way. An open
    dead letter need not move; in shadow, what is owed is at rest, and so is whom an operator has
    paused.
    """
    chosen = None if only is None else list(only)
    row = connection.execute(sql.IS_OPEN, (is_shadow, asked_at, chosen)).fetchone()
    is_open = row is None or row["found"]
    return not is_open and not _is_anybody_new_due(connection, rules, chosen)


def standing_of(connection: Connection, mentor_id: MentorId) -> str:
    """Where one mentor's look stands, in words."""
    row = ledger_row(connection, mentor_id)
    if row is None:
        return f"nobody has looked at {mentor_id} yet"
    if row["lease_owner"] is not None:
        return f"{mentor_id} is being delivered by {row['lease_owner']}"
    if row["state"] in {"pending", "in_doubt"}:
        why = f" after {row['last_error_code']}" if row["last_error_code"] else ""
        return f"{mentor_id} is {row['state'].replace('_', ' ')}{why}"
    return f"nobody has looked at {mentor_id} since it was asked for"


def standing_of_sweep(
    connection: Connection,
    asked_at: datetime,
    *,
    is_shadow: bool,
    only: Sequence[MentorId] | None = None,
) -> str:
    """How many of these, or of all, are still open, in words, and one of them."""
    chosen = None if only is None else list(only)
    values = {"asked_at": asked_at, "is_shadow": is_shadow, "only": chosen}
    row = connection.execute(sql.SWEEPING, values).fetchone()
    assert row is not None  # noqa: S101 - counts
    parts = [
        f"{row[name]:,} {words}"
        for name, words in (
            ("unseen", "not looked at yet"),
            ("under_way", "under way"),
            ("pending", "to be tried again"),
            ("in_doubt", "in doubt"),
        )
        if row[name]
    ]
    one = f", for example {row['example']} (hlf-sync why tells)" if row["example"] else ""
    return (", ".join(parts) or "somebody new waits for the first look") + one


def given_up(connection: Connection, only: Sequence[MentorId] | None = None) -> int:
    """How many of these, or of all, ended as a dead letter."""
    chosen = None if only is None else list(only)
    row = connection.execute(sql.GIVEN_UP, (chosen,)).fetchone()
    assert row is not None  # noqa: S101 - counts
    return int(row["count"])


def obstacles(connection: Connection, organization: str) -> list[str]:
    """What may be in the way of every delivery, a line each."""
    found = delivery_blockers.look(connection, organization)
    return [*found.obstacles(is_removal=False), *found.reported()]


def _is_anybody_new_due(connection: Connection, rules: Rules, only: list[MentorId] | None) -> bool:
    """Whether somebody without a ledger row would be called for, or get a letter."""
    rows = connection.execute(sql.WITHOUT_LEDGER, (rules.organization, only)).fetchall()
    mentor_ids = [MentorId(row["mentor_id"]) for row in rows]
    readings = (
        read_now(connection, mentor_ids[start : start + _AT_ONCE])
        for start in range(0, len(mentor_ids), _AT_ONCE)
    )
    return any(
        not isinstance(due(known, known.ledger, reading.now_s, rules), NoCall)
        for reading in readings
        for known in reading.mentors.values()
    )


def lift(connection: Connection, reason: HaltReason) -> bool:
    """Take a halt away; False when it did not hold."""
    with connection.transaction():
        act_as(connection, operator(), "hlf-sync resume")
        return connection.execute(sql.LIFT, (reason.value,)).rowcount > 0


class HeldRemoval(NamedTuple):
    """A removal that waits for a word, and why it is due: a status, no_valid_certificate, gone,
    other_organization, contact_replaced.
    """

    mentor_id: MentorId
    cause: str


def held_removals(connection: Connection, rules: Rules) -> list[HeldRemoval]:
    """Those that are still due by the facts as they are now: a mistake may have been put right
    meanwhile.
    """
    rows = connection.execute(sql.UNCONFIRMED)
    held = [MentorId(row["mentor_id"]) for row in rows]
    found: list[HeldRemoval] = []
    for start in range(0, len(held), _AT_ONCE):
        reading = read_now(connection, held[start : start + _AT_ONCE])
        for mentor_id, known in reading.mentors.items():
            decision = due(known, known.ledger, reading.now_s, rules)
            if isinstance(decision, Command) and decision.operation is Operation.REMOVE:
                found.append(HeldRemoval(mentor_id, decision.reason))
    return found


def listed(connection: Connection) -> int:
    """How many mentors the ledger knows as shown."""
    row = connection.execute(sql.LISTED).fetchone()
    return int(row["count"]) if row else 0


def is_removal_due(connection: Connection, mentor_id: MentorId, rules: Rules) -> bool:
    """Whether the mentor's due operation is the one that the mass change guard may hold back."""
    reading = read_now(connection, [mentor_id])
    return _is_due(reading.mentors[mentor_id], reading.now_s, rules)


def _is_due(known: Known, now_s: float, rules: Rules) -> bool:
    """Whether a removal is due."""
    decision = due(known, known.ledger, now_s, rules)
    return isinstance(decision, Command) and decision.operation is Operation.REMOVE


def confirm_removals(connection: Connection, mentor_ids: list[MentorId], reason: str) -> None:
    """Let exactly these through, forget those that are no longer due, and lift the halt. Who is
    held back while this goes on stays held.
    """
    with connection.transaction():
        act_as(connection, operator(), reason)
        connection.execute(sql.FORGET_OTHERS, (mentor_ids,))
        connection.execute(sql.CONFIRM, (operator(), reason, mentor_ids))
        connection.execute(sql.LIFT, (HaltReason.MASS_REMOVAL.value,))


def halts(connection: Connection) -> list[dict[str, Any]]:
    """What halts now, and whether an operator has paused everybody."""
    return connection.execute(sql.HALTS).fetchall()


def require_not_paused(connection: Connection, mentor_id: MentorId) -> None:
    """Raise `HaltError` while an operator has paused this mentor: nothing will be called."""
    for row in in_force(connection):
        if row["mentor_id"] == mentor_id:
            raise HaltError(
                f"{mentor_id} is paused by {row['paused_by']} ({row['reason']}); the request waits"
                f" for `hlf-sync unpause --mentor {mentor_id}`"
            )


def ledger_row(connection: Connection, mentor_id: MentorId) -> dict[str, Any] | None:
    """The mentor's ledger row."""
    return connection.execute(sql.LEDGER_ROW, (mentor_id,)).fetchone()
