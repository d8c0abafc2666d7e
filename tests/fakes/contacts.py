"""Whom a mentor's doubt is about, for worlds without a database: what postgres/statements/ledger.py
and hlf_sync.former_contacts (migration 0107) do with contacts. The suites of the ledger prove the SQL.
"""

from dataclasses import dataclass

from hlf_sync.core.model import ContactId, Former, LedgerRow, Operation, Visibility
from hlf_sync.core.outcome import Ending


@dataclass(frozen=True)
class Contacts:
    """The ledger's columns about contacts. `delivered_to` is whom `applied` is about; `hidden` those in
    doubt that were hidden meanwhile.
    """

    delivered_to: ContactId | None = None
    doubtful: tuple[ContactId, ...] = ()
    hidden: frozenset[ContactId] = frozenset()

    def formers(self, row: LedgerRow, mapped: ContactId) -> tuple[Former, ...]:
        """Whom the mentor no longer has, and who is shown or may be."""
        left = (
            (self.delivered_to,)
            if self.delivered_to is not None and row.applied is Visibility.VISIBLE
            else ()
        )
        doubtful = (one for one in self._doubtful(row) if one not in left)
        return tuple(
            Former(one, None, one in left, one in self.hidden)
            for one in (*left, *doubtful)
            if one != mapped
        )

    def claimed(self, row: LedgerRow, contact: ContactId, operation: Operation) -> "Contacts":
        """CLAIM. `row` is from before it."""
        hidden = self.hidden if row.is_in_doubt else frozenset()
        return Contacts(
            self.delivered_to,
            _with(self._doubtful(row), contact),
            hidden if operation is Operation.REMOVE else hidden - {contact},
        )

    def recorded(
        self,
        ending: Ending,
        contact: ContactId,
        operation: Operation,
        *,
        before: tuple[ContactId, ...],
        is_past: bool,
        is_farewell: bool,
    ) -> "Contacts":
        """RECORD; after a success that nothing can overtake, who is left in doubt."""
        match ending:
            case Ending.APPLIED if is_past and is_farewell:
                left = tuple(one for one in self.doubtful if one != contact)
                return Contacts(contact, left, self.hidden - {contact})
            case Ending.APPLIED if is_past:
                return Contacts(contact)
            case Ending.APPLIED:
                hides = {contact} if operation is Operation.REMOVE else set()
                return Contacts(contact, self.doubtful, self.hidden | hides)
            case Ending.UNKNOWN | Ending.LATE:
                return self
            case _:
                return Contacts(self.delivered_to, before, self.hidden)

    def lost(self, row: LedgerRow, contact: ContactId) -> "Contacts":
        """LOST. `row` is from before it."""
        hidden = self.hidden - {contact} if row.is_in_doubt else frozenset()
        return Contacts(self.delivered_to, _with(self._doubtful(row), contact), hidden)

    def distrusted(self, row: LedgerRow, mapped: ContactId) -> "Contacts":
        """DOUBT. `row` is from before it."""
        doubtful = _with(self._doubtful(row), mapped)
        if self.delivered_to is not None:
            doubtful = _with(doubtful, self.delivered_to)
        return Contacts(self.delivered_to, doubtful)

    def _doubtful(self, row: LedgerRow) -> tuple[ContactId, ...]:
        return self.doubtful if row.is_in_doubt else ()


def _with(contacts: tuple[ContactId, ...], contact: ContactId) -> tuple[ContactId, ...]:
    return contacts if contact in contacts else (*contacts, contact)
