"""What applying a roster would ask of Dynamics: the roster, an operator's orders against it, and
what the journal says was done. Decides nothing about one contact itself: core/break_glass does.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hlf_sync.break_glass.journal import Account, Called
from hlf_sync.break_glass.roster import Roster, RosterEntry
from hlf_sync.core.break_glass import JournalStanding, Left, left_to_do
from hlf_sync.core.model import ContactId, Operation, Visibility
from hlf_sync.errors import SettingsError


@dataclass(frozen=True, slots=True)
class PlanWish:
    """What an operator asks for. Orders (mentor or contact id → value) go against the roster;
    with orders and without `only`, nobody else is touched.
    """

    only: frozenset[str] = frozenset()
    removals_only: bool = False
    orders: Mapping[str, Visibility] | None = None
    asks_refused_again: bool = False


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One contact to call."""

    entry: RosterEntry
    wanted: Visibility

    @property
    def operation(self) -> Operation:
        """The operation that ends in the wanted value."""
        return Operation.RESTORE if self.wanted is Visibility.VISIBLE else Operation.REMOVE


@dataclass(frozen=True, slots=True)
class CallPlan:
    """Removals come first: who should not be seen matters most. `orders` are by contact."""

    due: Sequence[PlanItem]
    done: int
    refused: Sequence[PlanItem]
    orders: Mapping[ContactId, Visibility]
    lapsed: int

    @property
    def counts(self) -> dict[str, int]:
        """How many of each."""
        removals = sum(item.operation is Operation.REMOVE for item in self.due)
        return {
            "remove": removals,
            "restore": len(self.due) - removals,
            "done": self.done,
            "refused": len(self.refused),
            "certificate_ended_since": self.lapsed,
        }


def make_plan(
    roster: Roster, account: Account, wish: PlanWish, now_ms: int, *, late_effect_s: float
) -> CallPlan:
    """Compare. Raises `SettingsError` for somebody whom the roster does not know."""
    new = _resolved(roster, wish.orders or {})
    orders = {**account.orders, **new}
    chosen = _chosen(roster, wish, frozenset(new))
    due: list[PlanItem] = []
    refused: list[PlanItem] = []
    done = lapsed = 0
    for entry in chosen:
        wanted = orders.get(entry.contact_id, entry.wanted(now_ms))
        if wish.removals_only and wanted is Visibility.VISIBLE:
            continue
        item = PlanItem(entry, wanted)
        lapsed += wanted is not entry.shown and entry.contact_id not in orders
        standing = standing_of(account.called.get(entry.contact_id), wanted, late_effect_s).standing
        if standing is JournalStanding.DONE:
            done += 1
        elif standing is JournalStanding.REFUSED and not wish.asks_refused_again:
            refused.append(item)
        else:
            due.append(item)
    due.sort(key=lambda item: item.wanted is Visibility.VISIBLE)
    return CallPlan(due, done, refused, new, lapsed)


def standing_of(called: Called | None, wanted: Visibility, late_effect_s: float) -> Left:
    """What is left to do for a contact."""
    return left_to_do(called.asks if called else (), wanted, late_effect_s=late_effect_s)


def _resolved(roster: Roster, orders: Mapping[str, Visibility]) -> dict[ContactId, Visibility]:
    found: dict[ContactId, Visibility] = {}
    for name, shown in orders.items():
        entries = [entry for entry in _named(roster, {name}) if not entry.is_former]
        if not entries:
            raise SettingsError(f"{name}: only a former contact of theirs is in the roster")
        found |= {entry.contact_id: shown for entry in entries}
    return found


def _chosen(roster: Roster, wish: PlanWish, ordered: frozenset[ContactId]) -> Iterable[RosterEntry]:
    if not wish.only and not ordered:
        return roster.entries
    named = {entry.contact_id for entry in _named(roster, wish.only)} | ordered
    return [entry for entry in roster.entries if entry.contact_id in named]


def _named(roster: Roster, names: Iterable[str]) -> list[RosterEntry]:
    """The entries of these mentors or contacts."""
    found: list[RosterEntry] = []
    for name in sorted(names):
        entries = [entry for entry in roster.entries if name in {entry.mentor_id, entry.contact_id}]
        if not entries:
            raise SettingsError(
                f"{name} is in this roster neither as a mentor nor as a contact: nothing was called"
            )
        found += entries
    return found
