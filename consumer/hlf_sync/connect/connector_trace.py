"""A failed task's trace, made fit to be shown: its causes without the frames, secrets or row
values, and what to do. Pure; used by `connector apply`.

Must not let through anything that a driver quotes from a row ("Detail: Key (email)=(…)") or from an
address.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_MOST_LINES = 12
_MOST_CHARACTERS = 400

_HIDDEN = (
    (
        re.compile(r"(?i)(password|passwd|secret|token|credential)(\"?\s*[=:]\s*)[^\s,;}]+"),
        r"\1\2(hidden)",
    ),
    (re.compile(r"://[^/\s@]+@"), "://(hidden)@"),
    # PostgreSQL quotes whole rows and keys; Debezium quotes records as Struct{…}.
    (re.compile(r"(?i)\b(detail|where|value)(: ).*"), r"\1\2(hidden)"),
    (re.compile(r"\{.*\}|\{.*"), "{…}"),
)


@dataclass(frozen=True, slots=True)
class TraceCause:
    """What a trace says, what to do about it, and whether it passes by itself: then a restart is
    all that is needed.
    """

    pattern: str
    advice: str
    passes: bool = False


_UNKNOWN = TraceCause("", "Look into the log of the Connect worker that runs the task.")
# The first that fits; the order is from the special to the general.
_CAUSES = (
    TraceCause(
        r"replication slot .*(does not exist|invalidat)|no longer available on the server|trying to"
        r" read change stream",
        "The replication slot does not fit what was read; changes in between are lost to the"
        " stream. See 'The slot is lost' in connectors/README.md.",
    ),
    TraceCause(
        r"RecordTooLargeException|RecordBatchTooLargeException|larger than .*max\.request\.size",
        "A row's text makes a record larger than Kafka takes. The packaged connector captures no text"
        " of any length: an administrator runs connectors/sql/02_source.sql again, then `hlf-sync"
        " connector apply`; nothing is lost, the slot holds it back. With another connector's file:"
        " leave that column out, or cut it by column.truncate.to.500.chars.",
    ),
    TraceCause(
        r"replication slot .* is active",
        "Another connector, or the old task, still reads the slot: stop it, or wait a minute.",
        passes=True,
    ),
    TraceCause(
        r"publication",
        "The publication is missing or wrong: run connectors/sql/02_source.sql as an"
        " administrator.",
    ),
    TraceCause(r"wal_level", "PostgreSQL must run with wal_level=logical."),
    TraceCause(
        r"password authentication failed|no password|pg_hba",
        "PostgreSQL refuses hlf_cdc: look at the source file and pg_hba.conf.",
    ),
    TraceCause(
        r"permission denied|must be superuser|row-level security",
        "hlf_cdc lacks a right: run connectors/sql/02_source.sql as an administrator.",
    ),
    TraceCause(
        r"guardrail",
        "More tables would be captured than should be: compare table.include.list with the packaged"
        " file.",
    ),
    # The bare class without a text is the converter's word for 'no answer'.
    TraceCause(
        r"RestClientException\s*$",
        "The schema registry cannot be reached from Connect: look at registry_url in the source"
        " file.",
        passes=True,
    ),
    TraceCause(
        r"apicurio|registry",
        "The schema registry refuses the schema: look at its log, and at registry_url in the source"
        " file.",
    ),
    TraceCause(
        r"not present in metadata|UnknownTopicOrPartition",
        "A topic is missing: create all of connectors/topics.json.",
        passes=True,
    ),
    TraceCause(
        r"connection .*refused|could not connect|UnknownHost|connection attempt failed|starting"
        r" up|shutting down|I/O error",
        "PostgreSQL cannot be reached from Connect.",
        passes=True,
    ),
)


def causes(trace: str) -> tuple[str, ...]:
    """The lines of a Java trace that say something, redacted and cut."""
    telling = (line.strip() for line in trace.splitlines() if line.strip() and not _is_frame(line))
    return tuple(redacted(line)[:_MOST_CHARACTERS] for line in _last_ones(telling))


def redacted(line: str) -> str:
    """The line without secrets and row values."""
    for pattern, replacement in _HIDDEN:
        line = pattern.sub(replacement, line)
    return line


def find_cause(trace: str) -> TraceCause:
    """The known cause that a trace speaks of."""
    return next(
        (
            cause
            for cause in _CAUSES
            if re.search(cause.pattern, trace, re.IGNORECASE | re.MULTILINE)
        ),
        _UNKNOWN,
    )


def _is_frame(line: str) -> bool:
    return bool(re.match(r"\s*(at |\.\.\. \d+ (more|common))", line))


def _last_ones(lines: Iterable[str]) -> list[str]:
    """The root cause stands last."""
    return list(lines)[-_MOST_LINES:]
