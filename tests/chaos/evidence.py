"""Gathers what a run left behind: history, topics, journal, ledger, logs. Called by wave.py when a
wave is at rest; judges nothing (auditor.py does).

What is in the topics is read once and remembered; the rest is small, and read as it stands.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import psycopg
from hlf_sync.decode.dead_letter_codec import decode
from hlf_sync_sandbox.dynamics.control import read_settings

from tests.chaos.auditor import Evidence, LedgerRow
from tests.chaos.faults import World
from tests.chaos.ground import read_circuit, read_history
from tests.chaos.writers import CANARY
from tests.fixtures.leaks import Search, secrets
from tests.fixtures.source_side import CHANGES, Record
from tests.fixtures.worker_process import LETTERS, Town, WorkerProcess

_TABLES = (
    "mentor_ledger",
    "delivery_attempt",
    "dynamics_sync_failures",
    "sync_request",
    "circuit",
    "halt",
    "held_removal",
)


class Witness:
    """Sees a run from its begin on."""

    def __init__(self, world: World, town: Town, *, reach_s: float) -> None:
        self._world, self._town, self._reach_s = world, town, reach_s
        self._changes, self._letters = dict(town.begin), dict(town.letters_begin)
        self._topic: set[tuple[int, str]] = set()
        self._letter_ids: set[str] = set()
        self._leaks: list[str] = []

    def testify(self, unrest: Sequence[str] = (), *, with_logs: bool = False) -> Evidence:
        """Everything until now that the auditor needs; `with_logs`: look for personal data and
        secrets everywhere, too.
        """
        world, town, ids = self._world, self._town, self._world.people.everybody
        self._read_topics()
        with town.side.admin() as connection:
            now = connection.execute("SELECT extract(epoch FROM now())::float8").fetchone()
            failures = (
                "SELECT dead_letter_id FROM hlf_sync.dynamics_sync_failures WHERE mentor_id = ANY"
                " (%s::uuid[])"
            )
            return Evidence(
                events=read_history(connection),
                topic=frozenset(self._topic),
                journal=journal(world, town.journal_begin),
                first_shown={mentor_id: mentor_id in world.people.strangers for mentor_id in ids},
                shown=town.shown(ids),
                ledger=_ledger(connection, ids),
                letters=frozenset(self._letter_ids),
                failures=_column(connection, failures, ids),
                now_s=now[0] if now else 0.0,
                reach_s=self._reach_s,
                lag=town.lag(),
                unmapped=frozenset(ids)
                - _column(connection, "SELECT mentor_id::text FROM hlf_sync.contact_mapping"),
                freezes=world.fleet.all_freezes(),
                muffled=world.to_dynamics.all_troubles(),
                deaf=[*world.fleet.all_troubles(), *world.outages],
                circuit=read_circuit(connection),
                unrest=unrest,
                leaks=[*self._leaks, *(_leaks(world, town, connection) if with_logs else ())],
            )

    def _read_topics(self) -> None:
        changes = self._town.side.everything([CHANGES], self._changes)
        letters = self._town.side.everything([LETTERS], self._letters)
        self._topic |= {
            ((record.envelope.get("source") or {}).get("txId") or 0, (record.key or b"").decode())
            for record in changes
        }
        self._letter_ids |= {decode(record.value).id for record in letters if record.value}
        search = _search(self._world)
        for since, records in ((self._changes, changes), (self._letters, letters)):
            for record in records:
                place = record.topic, record.partition
                since[place] = max(since[place], record.offset + 1)
                if search.found(_bytes(record)):
                    self._leaks.append(f"{record.topic}-{record.partition}-{record.offset}")


def journal(world: World, since: int) -> list[dict[str, Any]]:
    """The emulator's journal from its file, since a killed one forgets; the last line of a number
    counts.
    """
    found: dict[int, dict[str, Any]] = {}
    with Path(read_settings(world.stack.layout.root)["journal_file"]).open("rb") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:  # half a line of a killed process
                continue
            if entry["seq"] > since and entry["kind"] == "api":
                found[entry["seq"]] = entry
    return list(found.values())


def attempts(world: World, mentor_ids: list[str]) -> Counter[str]:
    """How the calls ended, as the ledger has it."""
    with psycopg.connect(world.stack.env["SANDBOX_POSTGRES_ADMIN_DSN"]) as connection:
        rows = connection.execute(
            "SELECT coalesce(error_code, outcome), count(*) FROM hlf_sync.delivery_attempt WHERE"
            " mentor_id = ANY (%s::uuid[]) GROUP BY 1",
            (mentor_ids,),
        )
        return Counter(dict(rows.fetchall()))


def keep(found: Evidence, folder: Path) -> None:
    """The evidence of a failed run, for a person."""
    (folder / "evidence.json").write_text(
        json.dumps(dataclasses.asdict(found), indent=1, default=_plain), encoding="utf-8"
    )


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else str(value)


def _column(connection: psycopg.Connection, statement: str, *parameters: object) -> frozenset[str]:
    return frozenset(row[0] for row in connection.execute(statement.encode(), parameters))


def _ledger(connection: psycopg.Connection, ids: list[str]) -> dict[str, LedgerRow]:
    rows = connection.execute(
        "SELECT mentor_id::text, applied, intended, state, dead_letter_id, lease_owner"
        " FROM hlf_sync.mentor_ledger WHERE mentor_id = ANY (%s::uuid[])",
        (ids,),
    )
    return {mentor_id: LedgerRow(*rest) for mentor_id, *rest in rows}


def _search(world: World) -> Search:
    """For the canary of personal data, and every secret."""
    return Search([CANARY, *secrets(world.stack).values()])


def _leaks(world: World, town: Town, connection: psycopg.Connection) -> Iterator[str]:
    """Where one of those stands."""
    logs = [
        *town.folder.glob("*.log"),
        *(world.stack.layout.log(part) for part in ("connect", "kafka", "dynamics", "registry")),
    ]
    files = [*logs, Path(read_settings(world.stack.layout.root)["journal_file"])]
    places: Iterator[tuple[str, bytes]] = chain(
        ((path.name, path.read_bytes()) for path in files if path.is_file()),
        (
            (f"hlf_sync.{table}", row.encode())
            for table in _TABLES
            for row in _column(connection, f"SELECT t::text FROM hlf_sync.{table} t")
        ),
        (
            (f"a worker's {page}", worker.get(page).content)
            for worker in filter(WorkerProcess.is_ready, world.fleet.alive)
            for page in ("/metrics", "/status")
        ),
    )
    search = _search(world)
    return (name for name, content in places if search.found(content))


def _bytes(record: Record) -> bytes:
    return b"".join(
        [record.key or b"", record.value or b"", *(value or b"" for _, value in record.headers)]
    )
