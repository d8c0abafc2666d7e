"""Reads of PromQL what the checks of rules and dashboard need: which metrics an expression names,
with which labels. It evaluates nothing.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_SELECTOR = re.compile(r"\b(hlf_sync[\w:]*|up|ALERTS)\b\s*(\{[^}]*\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")


@dataclass(frozen=True)
class Selector:
    """A metric's name, and per label the values that its matchers name."""

    name: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def selectors(expression: str) -> Iterator[Selector]:
    """Every metric that is named."""
    for name, braces in _SELECTOR.findall(expression):
        matchers = _MATCHER.findall(braces)
        yield Selector(
            name,
            {
                label: tuple(value.split("|")) if "~" in how else (value,)
                for label, how, value in matchers
            },
        )


def groupings(expression: str) -> set[str]:
    """Every label that is grouped or matched by."""
    return {
        label.strip()
        for labels in _GROUPING.findall(expression)
        for label in labels.split(",")
        if label.strip()
    }
