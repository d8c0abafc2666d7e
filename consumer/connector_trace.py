"""A failed task's trace, made fit to be shown: its causes without the frames, secrets or row values, and what to do. Pure; used by `connector apply`.

Must not let through anything that a driver quotes from a row ("Detail: Key (email)=(…)") or from an address.
"""

import re
from collections.abc import Iterable

_MOST_LINES = 12
_MOST_CHARACTERS = 400

_HIDDEN = (
    (re.compile(r"(?i)(password|passwd|secret|token|credential)(\"?\s*[=:]\s*)[^\s,;}]+"), r"\1\2(hidden)"),
    (re.compile(r"://[^/\s@]+@"), "://(hidden)@"),
    # PostgreSQL quotes whole rows and keys; Debezium quotes records as Struct{…}.
    (re.compile(r"(?i)\b(detail|where|value)(: ).*"), r"\1\2(hidden)"),
    (re.compile(r"\{.*\}|\{.*"), "{…}"),
)

# What the trace says → what to do. The first that fits; the order is from the special to the general.
_ADVICE = (
    (
        r"(?i)replication slot .*(does not exist|invalidat)|no longer available on the server|trying to read change stream",
        "The replication slot does not fit what was read; changes in between are lost to the stream. See 'The slot is lost' in connectors/README.md.",
    ),
    (
        r"(?i)replication slot .* is active",
        "Another connector, or the old task, still reads the slot: stop it, or wait a minute.",
    ),
    (r"(?i)publication", "The publication is missing or wrong: run connectors/sql/02_source.sql as an administrator."),
    (r"(?i)wal_level", "PostgreSQL must run with wal_level=logical."),
    (
        r"(?i)password authentication failed|no password|pg_hba",
        "PostgreSQL refuses hlf_cdc: look at the source file and pg_hba.conf.",
    ),
    (
        r"(?i)permission denied|must be superuser|row-level security",
        "hlf_cdc lacks a right: run connectors/sql/02_source.sql as an administrator.",
    ),
    (
        r"(?i)guardrail",
        "More tables would be captured than should be: compare table.include.list with the packaged file.",
    ),
    (
        r"(?i)apicurio|schema registry|registry",
        "The schema registry cannot be reached or refuses the schema: look at registry_url in the source file.",
    ),
    (
        r"(?i)not present in metadata|UnknownTopicOrPartition",
        "A topic is missing: create all of connectors/topics.json.",
    ),
    (
        r"(?i)connection .*refused|could not connect|UnknownHost|connection attempt failed",
        "PostgreSQL cannot be reached from Connect.",
    ),
)
_NO_ADVICE = "Look into the log of the Connect worker that runs the task."


def causes(trace: str) -> tuple[str, ...]:
    """The lines of a Java trace that say something, redacted and cut."""
    telling = (line.strip() for line in trace.splitlines() if line.strip() and not _is_frame(line))
    return tuple(redacted(line)[:_MOST_CHARACTERS] for line in _last_ones(telling))


def redacted(line: str) -> str:
    """The line without secrets and row values."""
    for pattern, replacement in _HIDDEN:
        line = pattern.sub(replacement, line)
    return line


def advise(trace: str) -> str:
    """What a person can do about it."""
    return next((advice for pattern, advice in _ADVICE if re.search(pattern, trace)), _NO_ADVICE)


def _is_frame(line: str) -> bool:
    return bool(re.match(r"\s*(at |\.\.\. \d+ (more|common))", line))


def _last_ones(lines: Iterable[str]) -> list[str]:
    """The root cause stands last."""
    return list(lines)[-_MOST_LINES:]
