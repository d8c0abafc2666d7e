"""A letter explained to a person, as names and values. Called by the command line; decides nothing,
shows no value of a record.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from hlf_sync.core.dead_letter import DeadLetter
from hlf_sync.core.model import LedgerRow
from hlf_sync.core.plain_text import plain
from hlf_sync.replay.inspection import Explained
from hlf_sync.replay.judgement import ReplayVerdict


def content(found: Explained) -> dict[str, Any]:
    """For scripts."""
    whole, standing = found.whole, found.judged.standing
    return {
        "id": found.letter.id,
        "verdict": found.judged.judgement.verdict.value,
        "reason": found.judged.judgement.reason,
        "partition": found.letter.partition,
        "offset": found.letter.offset,
        "letter": None if whole is None else {**asdict(whole), "status": whole.status.value},
        "ledger": None if standing is None else standing.ledger._asdict(),
        "failure": found.failure,
        "requests": found.requests,
        "record": found.record,
    }


def letter_page(found: Explained) -> Table:
    """One letter for people: name and value in two columns."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _letter_rows(found):
        table.add_row(name, Text(plain(value)))
    return table


def _letter_rows(found: Explained) -> list[tuple[str, str]]:
    letter, judgement, standing = found.letter, found.judged.judgement, found.judged.standing
    rows = [("letter", letter.id), ("verdict", f"{judgement.verdict.value}: {judgement.reason}")]
    rows += [("mentor", letter.mentor_id)] if letter.mentor_id else []
    rows += [
        ("what", f"{letter.kind_word}, {letter.error_code}"),
        ("lies at", f"partition {letter.partition}, offset {letter.offset}"),
    ]
    rows += [] if found.whole is None else _content_rows(found.whole)
    rows += [] if standing is None else _ledger_rows(standing.ledger)
    if found.failure is not None:
        since, resolved = found.failure["attempted_at"], found.failure["resolved_at"]
        rows.append(("failure", f"since {since}, resolved {resolved or 'not yet'}"))
    rows += [
        ("asked for", f"{one['created_at']} by {one['requested_by']}: {one['reason']}")
        for one in found.requests
    ]
    rows += [] if found.record is None else _record_rows(found.record)
    if judgement.verdict is ReplayVerdict.INVESTIGATE and letter.generation is None:
        rows.append(("next", _CLOSING_ADVICE))
    return rows


def _content_rows(whole: DeadLetter) -> list[tuple[str, str]]:
    """What the letter itself says."""
    source = whole.source
    answer = f", last answer {whole.http_status}" if whole.http_status else ""
    place = f"{source.topic}, partition {source.partition}, offset {source.offset}"
    rows = [
        ("why", whole.reason),
        ("written", f"{moment(whole.created_at_ms)} by {whole.worker}"),
        ("attempts", f"{whole.attempt_count}{answer}"),
        ("about", f"{place}, of {moment(source.timestamp_ms)}"),
    ]
    if whole.operation and whole.triggered_by:
        rows.append(("then", f"{whole.operation.value}, because of {whole.triggered_by.value}"))
    return rows


def _ledger_rows(ledger: LedgerRow) -> list[tuple[str, str]]:
    """How the ledger has the mentor."""
    if ledger.state is None:
        return []
    shown = ledger.applied.value if ledger.applied else "unknown"
    letter = ledger.dead_letter_id or "none"
    return [
        (
            "ledger",
            f"{ledger.state}, listing {shown}, generation {ledger.generation}, letter {letter}",
        )
    ]


def _record_rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    """The record that the letter points at, described without its values."""
    rows = [("record", _record_line(record))]
    if record["found"]:
        rows.append(("framing", record["framing"]))
        rows += [("schema", str(record["schema"]))] if record["schema"] else []
        rows.append(("today", record["now"]))
        rows += [("names", record["mentor_id"])] if record.get("mentor_id") else []
    return rows


_CLOSING_ADVICE = (
    "find out who wrote it and whose it was; `hlf-sync force MENTOR`, or `hlf-sync sweep` where"
    " nobody can tell; then `hlf-sync replay close ID --reason TEXT`"
)


def _record_line(record: dict[str, Any]) -> str:
    if not record["found"]:
        return str(record["why"])
    is_same = {
        True: "the bytes that the letter saw",
        False: "OTHER bytes than the letter saw",
        None: "no hash to compare",
    }[record["is_same"]]
    return (
        f"key of {_bytes(record['key_bytes'])}, value of {_bytes(record['value_bytes'])}; {is_same}"
    )


def _bytes(count: int | None) -> str:
    return "none" if count is None else f"{count} bytes"


def moment(epoch_ms: int) -> str:
    """A record's time for people."""
    try:
        return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{epoch_ms} ms"
