"""The roster: what Dynamics should show of each contact, as of when. Written while PostgreSQL is
there, read when it is not.

`export_roster` is called by the command and by the nightly work. The file holds ids and no
personal datum, and a SHA-256 over its content: no signature, it tells that the file was edited or
cut short.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from hlf_sync.break_glass.file import write_private
from hlf_sync.clock import epoch_ms
from hlf_sync.config.settings import Settings
from hlf_sync.core.decide import Rules, left_behind, next_look_s, should_be
from hlf_sync.core.model import ContactId, MentorId, Refuse, Visibility
from hlf_sync.errors import SettingsError
from hlf_sync.ports import Known
from hlf_sync.postgres.one_connection import reading_connection
from hlf_sync.postgres.population import read_everybody

FORMAT = "hlf-sync-roster"
VERSION = 1
KEPT = 7
"""How many rosters a folder keeps."""
OLD_S = 26 * 3600
"""A roster older than a night and some is warned about."""

_ENVIRONMENT = (
    "dynamics_base_url",
    "dynamics_api_version",
    "dynamics_authority",
    "dynamics_tenant_id",
    "dynamics_entity_set",
    "dynamics_visibility_column",
)


class RosterError(SettingsError):
    """The file is not a roster that may be applied."""


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """One contact. `until_ms`: when its mentor's certificate ends and it must be hidden. A former
    contact belongs to a mentor who has another one now.
    """

    mentor_id: MentorId
    contact_id: ContactId
    shown: Visibility
    until_ms: int | None = None
    is_former: bool = False

    def wanted(self, now_ms: int) -> Visibility:
        """What it should show now."""
        has_lapsed = self.until_ms is not None and self.until_ms <= now_ms
        return Visibility.HIDDEN if has_lapsed else self.shown


@dataclass(frozen=True, slots=True)
class Roster:
    """`as_of_ms` is PostgreSQL's clock when the facts were read; `environment` names which Dynamics
    it is about (no secret). `skipped` mentors have no contact, or facts outside the contract.
    """

    as_of_ms: int
    organization: str
    environment: Mapping[str, str]
    entries: tuple[RosterEntry, ...]
    skipped: int
    sha256: str = ""

    def age_s(self, now_ms: int) -> float:
        """How old it is by this machine's clock."""
        return max(0.0, (now_ms - self.as_of_ms) / 1000)

    def body(self) -> dict[str, Any]:
        """The file's content without its hash."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "as_of": _text(self.as_of_ms),
            "organization": self.organization,
            "environment": dict(self.environment),
            "skipped": self.skipped,
            "entries": [_row(entry, self.as_of_ms) for entry in self.entries],
        }

    @property
    def counts(self) -> dict[str, int]:
        """How many contacts should show what."""
        visible = sum(entry.shown is Visibility.VISIBLE for entry in self.entries)
        return {"visible": visible, "hidden": len(self.entries) - visible}


def export_roster(settings: Settings, path: Path) -> Roster:
    """Read everybody in one snapshot, and write the file whole or not at all, mode 0600.

    Raises `DependencyError` while PostgreSQL cannot be reached, `SettingsError` when the file
    cannot be written.
    """
    settings.require("postgres_dsn")
    with reading_connection(settings.secret("postgres_dsn"), "hlf-sync-roster") as connection:
        now_s, everybody = read_everybody(connection)
    roster = _roster(settings, now_s, everybody)
    lines = ",\n".join(orjson.dumps(row).decode() for row in roster.body()["entries"])
    head = orjson.dumps({**roster.body(), "entries": [], "sha256": _sha256(roster.body())}).decode()
    write_private(path, head.replace('"entries":[]', f'"entries":[\n{lines}\n]', 1).encode())
    return read_roster(path)


def leave_newest(settings: Settings, folder: Path) -> Path:
    """Export into the folder under a name with the time, and keep the newest seven. For the nightly
    work; blocking.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"roster-{datetime.fromtimestamp(epoch_ms() / 1000, UTC):%Y%m%dT%H%M%SZ}.json"
    export_roster(settings, path)
    for old in sorted(folder.glob("roster-*Z.json"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def read_roster(path: Path) -> Roster:
    """Read a roster; raises `RosterError` for what is none, was edited, or was cut short."""
    try:
        found = orjson.loads(path.read_bytes())
    except OSError as error:
        raise RosterError(f"{path}: cannot be read ({error.strerror})") from None
    except orjson.JSONDecodeError:
        raise RosterError(f"{path} is not a roster, or was cut short: take an older one") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT or "sha256" not in found:
        raise RosterError(f"{path} is not a roster; `hlf-sync break-glass export FILE` makes one")
    sha256 = found.pop("sha256")
    if sha256 != _sha256(found):
        raise RosterError(
            f"{path} was edited or damaged after its export (its SHA-256 differs): take an older"
            " one. To act against the roster use --hide and --show"
        )
    if found.get("version") != VERSION:
        raise RosterError(f"{path} was made by another version of hlf-sync: use that one")
    try:
        return Roster(
            as_of_ms=_ms(found["as_of"]),
            organization=found["organization"],
            environment=found["environment"],
            entries=tuple(_entry(row) for row in found["entries"]),
            skipped=found["skipped"],
            sha256=sha256,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RosterError(f"{path} is not a roster: something is missing") from error


def _roster(
    settings: Settings, now_s: float, everybody: Iterable[tuple[MentorId, Known]]
) -> Roster:
    rules = Rules(organization=settings.organization)
    entries: list[RosterEntry] = []
    skipped = 0
    for mentor_id, known in everybody:
        shown = _shown(known, now_s, rules)
        if shown is not None and known.contact_id is not None:
            look_s = next_look_s(known.facts, now_s, rules)
            until_ms = None if look_s is None else int(look_s * 1000)
            entries.append(RosterEntry(mentor_id, known.contact_id, shown, until_ms))
        elif shown is None:
            skipped += 1
        else:
            skipped += not known.formers
        entries += [
            RosterEntry(mentor_id, contact_id, Visibility.HIDDEN, is_former=True)
            for contact_id in left_behind(known, now_s, rules)
        ]
    names = {name: getattr(settings, name) for name in _ENVIRONMENT}
    environment = {name: str(value) for name, value in names.items() if value}
    return Roster(int(now_s * 1000), settings.organization, environment, tuple(entries), skipped)


def _shown(known: Known, now_s: float, rules: Rules) -> Visibility | None:
    """What the contact should show; None where nothing would ever be called for it."""
    found = should_be(known.facts, known.ledger, now_s, rules)
    return None if isinstance(found, Refuse) else found


def _row(entry: RosterEntry, as_of_ms: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "mentor_id": entry.mentor_id,
        "contact_id": entry.contact_id,
        "shown": entry.shown.value,
        "as_of": _text(as_of_ms),
    }
    if entry.until_ms is not None:
        row["until"] = _text(entry.until_ms)
    return row | ({"former": True} if entry.is_former else {})


def _entry(row: Mapping[str, Any]) -> RosterEntry:
    return RosterEntry(
        MentorId(row["mentor_id"]),
        ContactId(row["contact_id"]),
        Visibility(row["shown"]),
        _ms(row["until"]) if "until" in row else None,
        bool(row.get("former")),
    )


def _sha256(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _text(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
