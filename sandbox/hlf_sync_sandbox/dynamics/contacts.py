"""The contacts of the organisation and what an upsert does to them: Dataverse's semantics, in
memory.

Called by `dataverse` and `steering`. Pure but for its own dictionary: no clock, no file; the caller
makes changes durable (`contact_log`). Versions are one rising number for the whole organisation,
like SQL Server's rowversion.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from hlf_sync_sandbox.dynamics.columns import ALTERNATE_KEYS, Value, new_id


@dataclass(slots=True)
class Contact:
    """One row. `version` rises with every write, an equal value included."""

    contact_id: str
    version: int
    columns: dict[str, Value]
    created_ms: int
    modified_ms: int

    @property
    def etag(self) -> str:
        """The weak entity tag that goes over the wire."""
        return f'W/"{self.version}"'


@dataclass(frozen=True, slots=True)
class ById:
    """A row addressed by its primary key."""

    contact_id: str


@dataclass(frozen=True, slots=True)
class ByKey:
    """A row addressed by an alternate key."""

    column: str
    value: str


Key = ById | ByKey


@dataclass(frozen=True, slots=True)
class Precondition:
    """The conditional headers of one request; all unset means upsert."""

    must_exist: bool = False
    version: str | None = None
    must_not_exist: bool = False


class Refusal(Enum):
    """Why a write did not happen."""

    MISSING = auto()
    VERSION_DIFFERS = auto()
    EXISTS = auto()
    KEY_TAKEN = auto()


@dataclass(frozen=True, slots=True)
class Written:
    """A write that happened."""

    contact: Contact
    created: bool


class Contacts:
    """All rows, by id and by alternate key."""

    def __init__(self) -> None:
        """Start with an empty table."""
        self.by_id: dict[str, Contact] = {}
        self._by_key: dict[tuple[str, Value], str] = {}
        self.version = 536_000
        self.plug_in_runs = 0
        """How often the update plug-in would have run: once per write, an equal value included."""

    def __len__(self) -> int:
        """Count rows."""
        return len(self.by_id)

    def __iter__(self) -> Iterator[Contact]:
        """Walk all rows."""
        return iter(self.by_id.values())

    def find(self, key: Key) -> Contact | None:
        """Look a row up."""
        if isinstance(key, ById):
            return self.by_id.get(key.contact_id)
        contact_id = self._by_key.get((key.column, key.value))
        return None if contact_id is None else self.by_id[contact_id]

    def judge(self, key: Key, precondition: Precondition) -> Refusal | None:
        """Say whether the conditional headers let a write of this row pass."""
        contact = self.find(key)
        if contact is None:
            return Refusal.MISSING if precondition.must_exist else None
        if precondition.must_not_exist:
            return Refusal.EXISTS
        if precondition.version is not None and precondition.version != str(contact.version):
            return Refusal.VERSION_DIFFERS
        return None

    def write(
        self, key: Key, columns: dict[str, Value], precondition: Precondition, now_ms: int
    ) -> Written | Refusal:
        """Upsert: without a precondition an unknown row is created."""
        refusal = self.judge(key, precondition)
        if refusal is not None:
            return refusal
        contact = self.find(key)
        if any(self._is_taken(name, columns.get(name), contact) for name in ALTERNATE_KEYS):
            return Refusal.KEY_TAKEN
        self.plug_in_runs += 1
        if contact is None:
            return Written(self._create(key, columns, now_ms), created=True)
        self._index(contact, columns)
        contact.columns.update(columns)
        self.version += 1
        contact.version = self.version
        contact.modified_ms = now_ms
        return Written(contact, created=False)

    def load(self, contacts: Iterable[Contact]) -> None:
        """Take rows as they were, versions included (a start from the log)."""
        for contact in contacts:
            self.remove(contact.contact_id)
            self.by_id[contact.contact_id] = contact
            self._index(contact, contact.columns)
            self.version = max(self.version, contact.version)

    def remove(self, contact_id: str) -> bool:
        """Delete a row; say whether there was one."""
        contact = self.by_id.pop(contact_id, None)
        if contact is None:
            return False
        for name in ALTERNATE_KEYS:
            self._by_key.pop((name, contact.columns.get(name)), None)
        return True

    def _create(self, key: Key, columns: dict[str, Value], now_ms: int) -> Contact:
        self.version += 1
        contact_id = key.contact_id if isinstance(key, ById) else new_id()
        all_columns = dict(columns) if isinstance(key, ById) else {key.column: key.value, **columns}
        contact = Contact(contact_id, self.version, all_columns, now_ms, now_ms)
        self.by_id[contact_id] = contact
        self._index(contact, all_columns)
        return contact

    def _index(self, contact: Contact, columns: dict[str, Value]) -> None:
        for name in ALTERNATE_KEYS & columns.keys():
            self._by_key.pop((name, contact.columns.get(name)), None)
            if columns[name] is not None:
                self._by_key[name, columns[name]] = contact.contact_id

    def _is_taken(self, name: str, value: Value, contact: Contact | None) -> bool:
        owner = self._by_key.get((name, value))
        return owner is not None and (contact is None or owner != contact.contact_id)
