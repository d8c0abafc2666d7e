"""What is to be seen: each protagonist's row, facts, decision and CRM value, and the worker's own
state, read four times a second.

Runs in a thread with connections of its own, for the live view only: nothing is decided on what it
shows.
"""

import threading
from dataclasses import dataclass, field, replace
from typing import Any, Self

import psycopg
from hlf_sync.core.decide import Rules, decide
from hlf_sync.core.model import (
    Command,
    Facts,
    LedgerRow,
    LedgerState,
    NoCall,
    Operation,
    Visibility,
)

from hlf_sync_sandbox.demo.cast import OURS, PROTAGONISTS
from hlf_sync_sandbox.demo.workers import Workers
from hlf_sync_sandbox.dynamics.control import ControlError, DynamicsControl

_EVERY_S = 0.25

_READ = """
SELECT f.mentor_id::text, f.organization, f.status, extract(epoch FROM f.certificate_expires_at)::float8, extract(epoch FROM now())::float8,
       l.mentor_id IS NOT NULL, l.applied, l.intended, l.state, l.last_error_code, a.operation
  FROM hlf_sync.mentor_facts f
  LEFT JOIN hlf_sync.mentor_ledger l ON l.mentor_id = f.mentor_id
  LEFT JOIN LATERAL (SELECT operation FROM hlf_sync.delivery_attempt
                      WHERE mentor_id = f.mentor_id AND outcome = 'applied' ORDER BY id DESC LIMIT 1) a ON true
 WHERE f.mentor_id = ANY (%s::uuid[])
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One protagonist, left to right: the row, the facts, the decision, the CRM."""

    role: str
    row: str = "–"
    certificate: str = "–"
    decision: str = "–"
    crm: bool | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """One look at everything."""

    lines: tuple[Line, ...] = tuple(Line(mentor.role) for mentor in PROTAGONISTS)
    status: dict[str, Any] = field(default_factory=dict)


class Watch:
    """Keeps `sight` up to date until closed."""

    def __init__(self, dsn: str, worker: Workers, dynamics: DynamicsControl) -> None:
        self.sight = Sight()
        self._dsn = dsn
        self._worker = worker
        self._dynamics = dynamics
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with psycopg.connect(self._dsn, autocommit=True, connect_timeout=5) as connection:
                    while not self._ended.wait(_EVERY_S):
                        self._look(connection)
            except (psycopg.Error, ControlError):
                self._ended.wait(1)

    def _look(self, connection: psycopg.Connection) -> None:
        shown = self._dynamics.contacts()
        rows = {
            row[0]: row[1:]
            for row in connection.execute(_READ, ([mentor.id for mentor in PROTAGONISTS],))
        }
        lines = []
        for mentor in PROTAGONISTS:
            line = Line(mentor.role, crm=shown.get(mentor.contact_id))
            lines.append(_line(line, rows[mentor.id]) if mentor.id in rows else line)
        self.sight = Sight(tuple(lines), self._worker.status())


def _line(line: Line, row: tuple[Any, ...]) -> Line:
    (
        organization,
        status,
        expires_s,
        now_s,
        has_ledger,
        applied,
        intended,
        state,
        error_code,
        operation,
    ) = row
    ledger = LedgerRow()
    if has_ledger:
        ledger = LedgerRow(
            Visibility(applied) if applied else None,
            Visibility(intended) if intended else None,
            LedgerState(state),
        )
    decision = decide(
        Facts(organization, status, certificate_expires_s=expires_s), ledger, now_s, Rules(OURS)
    )
    text = ""
    match decision:
        case _ if state == LedgerState.DEAD_LETTERED:
            text = f"dead letter: {_short(error_code)}"
        case Command(operation=wanted, reason=reason):
            text = f"{wanted.value}: {_short(reason)}"
        case NoCall(reason=reason) if operation:
            done = "removed" if operation == Operation.REMOVE.value else "restored"
            text = f"{done}: {_short(status if reason == 'in_sync' else reason)}"
        case NoCall(reason="in_sync"):
            text = "as it should be"
        case NoCall(reason=reason):
            text = f"no call: {_short(reason)}"
        case refusal:
            text = f"refused: {_short(refusal.error_code)}"
    return replace(
        line,
        row=status if organization == OURS else f"{status}, {organization}",
        certificate=_certificate(expires_s, now_s),
        decision=text,
    )


# Why, in a few letters: what was done and why must fit beside the CRM's value.
_SHORT = {
    "no_valid_certificate": "no certificate",
    "other_organization": "not HLF's",
    "active": "certified",
    "reinstated": "certified",
    "mentor_mapping": "no contact",
}


def _short(reason: str | None) -> str:
    return _SHORT.get(reason or "", (reason or "").replace("_", " "))


def _certificate(expires_s: float | None, now_s: float) -> str:
    if expires_s is None:
        return "none"
    left_s = expires_s - now_s
    if left_s <= 0:
        return "ended"
    return f"ends in {left_s:.0f} s" if left_s < 3600 else f"{left_s / 86400:.0f} days"  # noqa: PLR2004 - an hour
