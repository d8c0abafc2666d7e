"""The mass removal guard (R11: mass change guard): how many more removals may be called before an
operator has to say yes.

A broken view, a TRUNCATE, a wrong batch job or a rewritten mapping would make every mentor look
gone. Every call that takes somebody off the listing counts, whatever it is about: a contact that is
shown, may be shown, or was perhaps left shown by an older mapping. Only the first delivery of a mentor of
whom nothing is known does not: it takes nobody off the listing that anybody knew of. Called where a
claim is made (pipeline, library) and by postgres/ledger.
"""

from dataclasses import dataclass

from hlf_sync.core.model import Command, LedgerRow, Operation, Visibility

_ROUNDING = 1e-9  # 0.29 * 100 is 28.999…, and 29 may go


@dataclass(frozen=True, slots=True)
class MassRemovalPolicy:
    """At most max(`minimum`, `ratio` × listed) removals within `window_s` seconds; `ratio` 0
    switches the guard off.
    """

    ratio: float = 0.1
    minimum: int = 20
    window_s: float = 600.0

    @property
    def is_on(self) -> bool:
        """Whether removals are counted at all."""
        return self.ratio > 0


def removals_allowed(policy: MassRemovalPolicy, *, removed: int, listed: int) -> int:
    """How many more may go: `removed` within the window so far, `listed` still shown (together what
    was shown when the window began).
    """
    return max(0, max(policy.minimum, int(policy.ratio * (listed + removed) + _ROUNDING)) - removed)


def takes_off_listing(command: Command, ledger: LedgerRow) -> bool:
    """Whether the call may take somebody off the listing; `ledger` is what the command was decided
    on.
    """
    may_be_shown = Visibility.VISIBLE in {ledger.applied, ledger.intended}
    return command.operation is Operation.REMOVE and (
        command.former_contact_id is not None or may_be_shown
    )
