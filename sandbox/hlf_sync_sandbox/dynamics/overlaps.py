"""Counts what is under way for each contact: the oracle of "never two calls for one mentor". Pure;
used by `exchange`.
"""

from collections import Counter


class Overlaps:
    """Two counts per contact: clients that wait, and effects that are still to come after their
    client left.
    """

    def __init__(self) -> None:
        """Start with nothing under way."""
        self._waiting: Counter[str] = Counter()
        self._unsettled: Counter[str] = Counter()

    def begin(self, contact_id: str | None) -> tuple[int, int]:
        """Count a request in; give how many others (waiting, unsettled) there were."""
        if contact_id is None:
            return 0, 0
        others = self._waiting[contact_id], self._unsettled.get(contact_id, 0)
        self._waiting[contact_id] += 1
        return others

    def client_left(self, contact_id: str | None) -> None:
        """The client has its answer, or does not wait for it any more."""
        _decrease(self._waiting, contact_id)

    def effect_remains(self, contact_id: str | None) -> None:
        """The client left, but the write is still to be done."""
        if contact_id is not None:
            self._unsettled[contact_id] += 1

    def settled(self, contact_id: str | None) -> None:
        """A write that remained has been done."""
        _decrease(self._unsettled, contact_id)


def _decrease(counts: Counter[str], contact_id: str | None) -> None:
    if contact_id is None:
        return
    if counts[contact_id] <= 1:
        del counts[contact_id]
    else:
        counts[contact_id] -= 1
