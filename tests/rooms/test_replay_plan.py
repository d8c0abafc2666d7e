"""The plan as a file, its filters, and how it looks."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hlf_sync.core.model import LetterKind, MentorId
from hlf_sync.errors import SettingsError
from hlf_sync.kafka.dead_letter_topic import LetterExtent
from hlf_sync.replay import plan_file
from hlf_sync.replay.judgement import Judgement, Letter, ReplayVerdict
from hlf_sync.replay.letter_page import moment
from hlf_sync.replay.plan_file import Plan, PlanError, PlannedLetter
from hlf_sync.replay.plan_page import PlanPage
from hlf_sync.replay.planning import Filters, start_of
from hlf_sync.replay.run_view import Lines
from rich.console import Console

pytestmark = pytest.mark.requirement("R47")

MENTOR = MentorId("6f1a1f3c-0000-4000-8000-000000000001")
LETTER = Letter(
    2, 7, f"{MENTOR}:4", LetterKind.EXHAUSTED, "server_error", 1_700_000_000_000, MENTOR, 4, 3
)
POISON = Letter(1, 0, "t-1-0", None, "unreadable", 1_700_000_000_000)


def plan(*letters: tuple[Letter, ReplayVerdict, int]) -> Plan:
    """A plan over these."""
    planned = [
        PlannedLetter(letter, Judgement(verdict, f"because {verdict.value}", calls))
        for letter, verdict, calls in letters
    ]
    return Plan(
        "an-id",
        "2026-03-01T12:00:00Z",
        "letters",
        "topic-id",
        {2: (0, 8), 1: (0, 1)},
        {},
        False,
        planned,
        1.5,
    )


PLAN = plan(
    (LETTER, ReplayVerdict.DUE, 1),
    (LETTER._replace(offset=8), ReplayVerdict.DUPLICATE, 0),
    (POISON, ReplayVerdict.INVESTIGATE, 0),
)


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    """With its letters, what is due, and the keys that contract.md names."""
    plan_file.write(PLAN, tmp_path / "plan.json")
    assert plan_file.read(tmp_path / "plan.json") == PLAN
    content = json.loads((tmp_path / "plan.json").read_text())
    assert list(tmp_path.iterdir()) == [tmp_path / "plan.json"]
    assert {
        "plan_id",
        "created_at",
        "topic",
        "range",
        "letters",
        "counts",
        "calls",
        "seconds",
        "hash",
    } <= content.keys()
    assert content["counts"] == {"due": 1, "superseded": 0, "duplicate": 1, "investigate": 1}
    assert (content["calls"], PLAN.due) == (1, [LETTER])
    assert {"id", "mentor_id", "kind", "verdict", "reason"} <= content["letters"][0].keys()


def test_another_layout_of_the_same_content_is_no_edit(tmp_path: Path) -> None:
    """A formatter may have passed."""
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(PLAN.content(), sort_keys=True))
    assert plan_file.read(path) == PLAN


@pytest.mark.parametrize(
    "change",
    [{"calls": 2}, {"topic_id": "other"}, {"letters": []}, {"more": 1}, {"hash": "0" * 64}],
)
def test_an_edited_plan_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    """What is applied is what was shown."""
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(PLAN.content() | change))
    with pytest.raises(PlanError, match="edited"):
        plan_file.read(path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"hash": 1}', "{", "\0", json.dumps(PLAN.content())[:-9]]
)
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever it is."""
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(PlanError, match="replay plan"):
        plan_file.read(path)


@pytest.mark.parametrize(
    "change",
    [
        {"plan_id": None},
        {"range": 3},
        {"range": {"x": [0, 1]}},
        {"letters": [{"id": "one"}]},
        {"letters": 7},
    ],
)
def test_a_plan_with_a_right_hash_and_wrong_content_is_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    """Somebody's program wrote it."""
    body = {
        name: value
        for name, value in (PLAN.content() | change).items()
        if name != "hash" and value is not None
    }
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({**body, "hash": plan_file._hash(body)}))
    with pytest.raises(PlanError, match="is not a plan"):
        plan_file.read(path)


def test_a_plan_of_another_version_and_one_that_is_not_there_are_refused(tmp_path: Path) -> None:
    """Each with what to do; and a folder that is not there cannot be written to."""
    body = {name: value for name, value in PLAN.content().items() if name != "hash"} | {
        "format": 99
    }
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({**body, "hash": plan_file._hash(body)}))
    with pytest.raises(PlanError, match="another version"):
        plan_file.read(path)
    with pytest.raises(PlanError, match="cannot be read"):
        plan_file.read(tmp_path / "none.json")
    with pytest.raises(SettingsError, match="--output"):
        plan_file.write(PLAN, tmp_path / "none" / "plan.json")


@pytest.mark.parametrize(
    ("filters", "is_meant"),
    [
        (Filters(), True),
        (
            Filters(
                kinds=frozenset({"exhausted"}),
                error_codes=frozenset({"server_error"}),
                mentor_ids=frozenset({MENTOR}),
            ),
            True,
        ),
        (Filters(kinds=frozenset({"rejected"})), False),
        (Filters(error_codes=frozenset({"not_found"})), False),
        (Filters(mentor_ids=frozenset({"another"})), False),
        (Filters(since_ms=LETTER.created_at_ms, until_ms=LETTER.created_at_ms + 1), True),
        (Filters(since_ms=LETTER.created_at_ms + 1), False),
        (Filters(until_ms=LETTER.created_at_ms), False),
    ],
)
def test_a_filter_takes_what_it_names(filters: Filters, is_meant: bool) -> None:
    """All of them together, ends exclusive."""
    assert filters.take(LETTER) is is_meant


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), LetterExtent(40, 100)),
        (Filters(first_offset=0), LetterExtent(10, 100)),
        (Filters(first_offset=50, end_offset=60), LetterExtent(50, 60)),
        (Filters(end_offset=20), LetterExtent(20, 20)),
        (Filters(first_offset=500), LetterExtent(100, 100)),
        (Filters(end_offset=5), LetterExtent(10, 10)),
        (Filters(partitions=frozenset({3})), LetterExtent(100, 100)),
        (Filters(partitions=frozenset({2})), LetterExtent(40, 100)),
    ],
)
def test_what_is_read_begins_at_the_groups_offset_unless_said_otherwise(
    filters: Filters, expected: LetterExtent
) -> None:
    """Never outside of what the topic has: 10 to 100, 40 committed."""
    assert filters.extent(2, LetterExtent(10, 100), 40) == expected


@pytest.mark.parametrize(
    ("committed", "expected"), [(None, 10), (5, 10), (40, 40), (100, 100), (101, 10)]
)
def test_an_offset_beyond_the_end_is_an_older_topics(committed: int | None, expected: int) -> None:
    """Then everything is read; and nothing that retention has taken."""
    assert start_of(LetterExtent(10, 100), committed) == expected


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_page_shows_whole_ids_reasons_and_what_to_do(width: int) -> None:
    """However narrow; markup in a foreign id is text."""
    odd = POISON._replace(id="[red]t-1-0")
    page = shown(
        plan(
            *(
                (LETTER._replace(offset=n, id=f"{MENTOR}:{n}"), ReplayVerdict.DUE, 1)
                for n in range(5)
            ),
            (odd, ReplayVerdict.INVESTIGATE, 0),
        ),
        width,
    )
    assert f"{MENTOR}:0" in page
    assert f"{MENTOR}:3" not in page
    assert "… and 2 more" in page
    assert "[red]t-1-0" in page
    assert "because due" in page
    assert "1 needs a person" in page
    assert page.index("investigate: ") < page.index("due: ")


def test_an_empty_plan_says_so() -> None:
    """And whether filters were why; letters that are gone from the topic are told."""
    assert "nothing to do" in shown(plan(), 80)
    gone = Plan("i", "now", "letters", "t", {}, {"kind": ["refused"]}, False, [], 0, ["a:1", "b:2"])
    assert "for these filters" in shown(gone, 80)
    assert "older than the topic, whose retention has passed them: 2 letters, a:1, b:2" in shown(
        gone, 200
    )


def test_many_reasons_are_cut() -> None:
    """A screen stays a screen."""
    letters = [
        PlannedLetter(
            LETTER._replace(id=str(n)), Judgement(ReplayVerdict.SUPERSEDED, f"reason {n}")
        )
        for n in range(20)
    ]
    page = shown(Plan("i", "now", "letters", "t", {}, {}, False, letters, 70), 80)
    assert "… and 8 more reasons" in page
    assert "1 min 10 s" in page


def test_without_a_terminal_a_run_is_a_few_lines() -> None:
    """One for each stage and tenth; the same line is not repeated."""
    output = io.StringIO()
    with Lines(Console(file=output, width=200)) as view:
        view.begin(100, 10)
        for ended in range(91):
            view.show(ended=ended, asked=ended + 1, failed=0, stage="all")
        view.show(ended=90, asked=90, failed=3, stage="end")
        view.say("waiting")
        view.say("waiting")
    lines = output.getvalue().splitlines()
    assert lines[0] == "100 letters, 10 of them ended before"
    assert len(lines) == 1 + 10 + 1 + 1
    assert lines[-2].endswith("3 failed again")


def test_a_time_that_no_calendar_has_is_shown_as_a_number() -> None:
    """Letters carry whatever their record had."""
    assert moment(0) == "1970-01-01 00:00:00 UTC"
    assert moment(2**62) == f"{2**62} ms"


def shown(of: Plan, width: int) -> str:
    """The page as text."""
    output = io.StringIO()
    PlanPage(Console(file=output, width=width)).show(of)
    return output.getvalue()
