"""A dead letter: which status each kind has, and which id."""

from dataclasses import fields

import pytest
from hlf_sync.core.dead_letter import (
    DeadLetter,
    LetterStatus,
    Source,
    mentor_letter_id,
    record_letter_id,
)
from hlf_sync.core.model import LetterKind, MentorId

MENTOR = MentorId("5f0c9f5e-0000-4000-8000-000000000001")


@pytest.mark.requirement("R41")
@pytest.mark.requirement("R42")
@pytest.mark.parametrize("kind", LetterKind)
def test_only_an_exhausted_delivery_waits_for_a_replay(kind: LetterKind) -> None:
    """Every other kind asks for a person first."""
    letter = DeadLetter("id", kind, "code", "reason", Source("t", 0, 0, 0), 0, "w")
    expected = (
        LetterStatus.PENDING_MANUAL_REPLAY
        if kind is LetterKind.EXHAUSTED
        else LetterStatus.REQUIRES_INVESTIGATION
    )
    assert letter.status is expected


@pytest.mark.requirement("R41")
def test_the_statuses_are_the_contracts_words() -> None:
    """Others read them."""
    assert [str(status) for status in LetterStatus] == [
        "pending_manual_replay",
        "requires_investigation",
    ]


@pytest.mark.requirement("R40")
def test_a_letter_written_twice_has_one_id() -> None:
    """By mentor and generation, or by the record's place."""
    assert mentor_letter_id(MENTOR, 7) == f"{MENTOR}:7"
    assert record_letter_id("hlf.mentor.changes", 3, 42) == "hlf.mentor.changes-3-42"


@pytest.mark.requirement("R45")
def test_a_letter_has_no_place_for_a_payload() -> None:
    """Pointers, codes, times; the fields are the contract's."""
    assert {field.name for field in fields(DeadLetter)} == {
        "id", "kind", "error_code", "reason", "source", "created_at_ms", "worker", "mentor_id", "operation", "http_status",
        "attempt_count", "certification_id", "triggered_by", "first_attempt_at_ms", "generation",
    }  # fmt: skip
    assert {field.name for field in fields(Source)} == {
        "topic", "partition", "offset", "timestamp_ms", "schema_id", "value_sha256", "value_bytes",
    }  # fmt: skip
