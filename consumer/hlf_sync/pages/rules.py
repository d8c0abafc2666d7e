"""docs/rules.md, printed from `core/decide.py`: `python -m hlf_sync.pages.rules > docs/rules.md`.
Every cell of the table is what `due` answers. A test compares the two.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import assert_never

from hlf_sync.core.decide import Rules, due
from hlf_sync.core.model import (
    Command,
    Decision,
    Facts,
    Known,
    LedgerRow,
    LedgerState,
    NoCall,
    Operation,
    Refuse,
    Visibility,
)

_NOW_S = 1_800_000_000.0
_DAY_S = 86_400.0
_RULES = Rules()

_HEAD = """\
# HLF's rules

Printed by `python -m hlf_sync.pages.rules` from `consumer/hlf_sync/core/decide.py`; do not edit. Every cell is what `due` answers.

A mentor of HLF is shown when the status is `{visible}` and the certificate is valid. The certificate is the mentor's most recent certification that
is not revoked, and it is valid while it ends later than PostgreSQL's `now()`. A status of `{hidden}` takes the mentor off. What is called depends on
what the ledger says Dynamics shows: `visible`, `hidden`, unknown (never delivered), or in doubt (a call may have taken effect without our knowing).

"""

_TAIL = """
**remove** and **restore** are one PATCH of the visibility column. A **warning** is one log line. **refuse** is a dead letter with status
`requires_investigation`, and no call. *out of scope* is counted and causes no call.

## What comes before and after

- A mentor whose mapping was corrected: the contact that we left visible is hidden first (`contact_replaced`), and so is one that a call
  of unknown outcome was about, unless that contact belongs to another mentor of ours by now. The new contact's turn comes next.
- Without a mapping nothing can be called: a dead letter `mentor_mapping`.
- When time alone changes the answer, at the certificate's end, the ledger's `reevaluate_at` asks for a look (R06: at most 60 s late).
- The mass change guard stops a removal before it is called, when too many were called within ten minutes (R11).
- Which statuses hide and which show is one value, `Rules`. `hlf-sync rehearse` shows whom other rules would remove or restore.
"""

_CERTIFICATES: dict[str, Facts] = {
    "valid": Facts("HLF", None, "c-1", _NOW_S + 30 * _DAY_S, "valid"),
    "ended": Facts("HLF", None, "c-1", _NOW_S - _DAY_S, "valid"),
    "none, or revoked": Facts("HLF", None, None, None, None),
}
_LEDGERS: dict[str, LedgerRow] = {
    "visible": LedgerRow(applied=Visibility.VISIBLE, state=LedgerState.IN_SYNC),
    "hidden": LedgerRow(applied=Visibility.HIDDEN, state=LedgerState.IN_SYNC),
    "unknown": LedgerRow(),
    "in doubt": LedgerRow(
        applied=Visibility.VISIBLE, intended=Visibility.HIDDEN, state=LedgerState.IN_DOUBT
    ),
}


def render() -> str:
    """The page."""
    head = _HEAD.format(
        visible="` or `".join(sorted(_RULES.visible_statuses)),
        hidden="` or `".join(sorted(_RULES.hidden_statuses)),
    )
    rows = [*_ours(), *_others()]
    columns = ["mentor", "certificate", *(f"ledger: {name}" for name in _LEDGERS)]
    lines = [columns, ["---"] * len(columns), *rows]
    return head + "".join(f"| {' | '.join(line)} |\n" for line in lines) + _TAIL


def _ours() -> Iterator[Sequence[str]]:
    for status in sorted(_RULES.hidden_statuses) + sorted(_RULES.visible_statuses):
        for certificate, facts in _CERTIFICATES.items():
            yield _row(f"`{status}`", certificate, _with(facts, "HLF", status))


def _others() -> Iterator[Sequence[str]]:
    valid = _CERTIFICATES["valid"]
    yield _row("no row in the view", "–", None)
    yield _row("another organisation (`NKS`)", "any", _with(valid, "NKS", "active"))
    yield _row("organisation written `hlf `", "any", _with(valid, "hlf ", "active"))
    yield _row("unknown status (`vacationing`)", "any", _with(valid, "HLF", "vacationing"))
    yield _row("`active`", "without an end", Facts("HLF", "active", "c-1", None, "valid"))


def _with(facts: Facts, organization: str, status: str) -> Facts:
    return Facts(
        organization,
        status,
        facts.certification_id,
        facts.certificate_expires_s,
        facts.certificate_status,
    )


def _row(mentor: str, certificate: str, facts: Facts | None) -> Sequence[str]:
    answers = [_told(_due(facts, ledger)) for ledger in _LEDGERS.values()]
    return [mentor, certificate, *answers]


def _due(facts: Facts | None, ledger: LedgerRow) -> Decision:
    known = Known(facts, ledger, has_ledger=True, contact_id=None)
    return due(known, ledger, _NOW_S, _RULES)


def _told(decision: Decision) -> str:
    match decision:
        case Command(operation):
            return "**remove**" if operation is Operation.REMOVE else "**restore**"
        case Refuse(reason):
            return f"refuse (`{reason}`)"
        case NoCall():
            scope = "out of scope" if decision.is_out_of_scope else "no call"
            return f"{scope}, warning" if decision.is_warning else scope
        case _:
            assert_never(decision)


if __name__ == "__main__":
    sys.stdout.write(render())
