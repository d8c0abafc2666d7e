"""docs/errors.md, printed from the verdict's tables: `python -m hlf_sync.pages.errors >
docs/errors.md`. A test compares the two.
"""

import sys
from collections.abc import Iterator
from itertools import groupby

from hlf_sync.core.answer import Response
from hlf_sync.core.verdict import CODES, FAILURES, Course, Rule, effect_of, judge, rule_for

_HEAD = """\
# What an answer of Dynamics means

Printed by `python -m hlf_sync.pages.errors` from `consumer/hlf_sync/core/verdict.py`; do not edit. Judged in this order: did an answer come at
all (transport), does it carry one of Dynamics' error codes, what is its status. A code speaks only in answers from 400 up, whatever the status.

| course | what happens |
|---|---|
"""

_COURSES = {
    Course.DONE: "Delivered.",
    Course.RETRY: (
        "The mentor is evaluated again from fresh facts at a due time; the attempt counts. After"
        " the last one: a dead letter, `exhausted`."
    ),
    Course.POSTPONED: (
        "Nothing was asked of Dynamics; again as soon as there is a token, or trust in the"
        " certificate. No attempt counts."
    ),
    Course.THROTTLED: (
        "The whole fleet pauses for Retry-After, and goes on more slowly. No attempt counts."
    ),
    Course.REJECTED: "A dead letter at once, `rejected`.",
    Course.RENEW_TOKEN: "One new token and one repetition; refused again: halt.",
    Course.HALT: (
        "All calls stop, an alert fires, nothing is dead-lettered; it heals by itself when the"
        " cause is repaired."
    ),
}

_TAIL = """
Effect: `none` the old value stands; `unknown` in doubt; `may_come_late` in doubt, and the call may still take effect later (the value is asserted
again after `HLF_SYNC_LATE_EFFECT_S`). Breaker: `failure` counts towards opening, `success` sets the count back, `-` neither.
"""


def render() -> str:
    """The page."""
    courses = "".join(f"| {course} | {_COURSES[course]} |\n" for course in Course)
    sections = (
        _table(
            "No answer",
            "failure",
            [(failure, rule, effect) for failure, (rule, effect) in FAILURES.items()],
        ),
        _table(
            "Dynamics' error codes",
            "code",
            [
                (f"`0x{code:08X}` {name}", rule, "by status")
                for code, (name, rule) in sorted(CODES.items())
            ],
        ),
        _table("Statuses", "status", list(_statuses())),
    )
    return _HEAD + courses + "".join(sections) + _TAIL


def _table(title: str, column: str, rows: list[tuple[str, Rule, str]]) -> str:
    head = (
        f"\n## {title}\n\n| {column} | course | error code | effect | breaker | why"
        " |\n|---|---|---|---|---|---|\n"
    )
    return head + "".join(
        f"| {name} | {rule.course} | {rule.error_code or '-'} | {effect} | {_breaker(rule)} |"
        f" {rule.reason} |\n"
        for name, rule, effect in rows
    )


def _breaker(rule: Rule) -> str:
    if rule.is_breaker_failure:
        return "failure"
    return "success" if rule.course in {Course.DONE, Course.REJECTED} else "-"


def _statuses() -> Iterator[tuple[str, Rule, str]]:
    """Neighbouring statuses with the same rule and effect, as one row; 200 with proof stands
    apart.
    """
    confirmed = Response(200, is_confirmed=True)
    yield "200 that shows the value asked for", rule_for(confirmed), judge(confirmed).effect
    rules = [(status, rule_for(Response(status))) for status in range(100, 600)]
    for (rule, effect), group in groupby(
        rules, key=lambda row: (row[1], effect_of(row[0], row[1]))
    ):
        numbers = [status for status, _ in group]
        yield str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}", rule, effect


if __name__ == "__main__":
    sys.stdout.write(render())
