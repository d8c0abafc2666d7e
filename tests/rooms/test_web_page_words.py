"""The page's words: both catalogues say the same things, there is a sentence for each word that the
service may come up with, and times are told as people of the place tell them.
"""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from fluent.syntax import FluentParser, ast
from hlf_sync.core.fleet_report import ReportedReason
from hlf_sync.core.fleet_verdict import Reason
from hlf_sync.core.model import ErrorCode, HaltReason, Operation, Trigger
from hlf_sync.core.open_update import Cause, OpenState
from hlf_sync.core.outcome import Ending
from hlf_sync.web.page.views import _NEXT
from hlf_sync.web.page.words import LANGUAGES, Words, catalogue, choose

PAGE = Path(__file__).parents[2] / "consumer/hlf_sync/web/page"
NOW = datetime(2026, 11, 28, 13, 5, tzinfo=UTC)
ALL = [Words(language, ZoneInfo("Europe/Oslo")) for language in LANGUAGES]


def _variables(message: ast.Message) -> set[str]:
    found: set[str] = set()

    def walk(node: object) -> None:
        if isinstance(node, ast.VariableReference):
            found.add(node.id.name)
        for value in vars(node).values() if isinstance(node, ast.BaseNode) else ():
            for one in value if isinstance(value, list) else [value]:
                walk(one)

    walk(message)
    return found


def _messages(language: str) -> dict[str, set[str]]:
    body = FluentParser().parse(catalogue(language)).body
    assert not [entry for entry in body if isinstance(entry, ast.Junk)]
    return {entry.id.name: _variables(entry) for entry in body if isinstance(entry, ast.Message)}


def test_both_languages_have_the_same_messages_with_the_same_values() -> None:
    assert _messages("en") == _messages("nb")


def test_no_message_is_written_twice() -> None:
    for language in LANGUAGES:
        names = re.findall(r"^([a-z][\w-]*) =", catalogue(language), re.MULTILINE)
        assert len(names) == len(set(names))


def test_each_message_that_templates_and_code_name_exists_and_each_that_exists_is_named() -> None:
    texts = [path.read_text("utf-8") for path in [*PAGE.glob("*.py"), *PAGE.glob("templates/*")]]
    named = set(re.findall(r"""words\(\s*['"]([\w-]+)['"]""", "\n".join(texts)))
    known = set(_messages("en"))
    assert named <= known
    families = (
        "why-",
        "next-",
        "error-",
        "state-",
        "trigger-",
        "delivery-",
        "count-",
        "verdict-",
        "asked-",
        "who-",
        "sync-",
    )
    literal = {name for name in known if any(f'"{name}"' in text for text in texts)}
    shown = {"visible", "hidden", "unknown", "undecided"}
    titles = {"database-title", "keys-title", "not-ours-title"}
    unused = {
        name for name in known - named - literal - shown - titles if not name.startswith(families)
    }
    assert unused == set()


@pytest.mark.parametrize("words", ALL, ids=list(LANGUAGES))
def test_there_is_a_sentence_for_everything_that_the_service_may_say(words: Words) -> None:
    wanted = [
        *(f"why-{cause}" for cause in Cause),
        *(f"state-{state}" for state in [*OpenState, "in_sync"]),
        *(f"count-{state}" for state in OpenState),
        *(f"error-{code}" for code in ErrorCode),
        *(f"trigger-{trigger}" for trigger in Trigger),
        *(f"next-{word}" for word in {*_NEXT.values(), "none"}),
        *(
            f"delivery-{operation}-{ending}"
            for operation in Operation
            for ending in Ending
            if ending not in {Ending.LATE, Ending.NO_CALL}
        ),
    ]
    assert [key for key in wanted if not words.has(key)] == []
    assert all(
        words.has(f"verdict-{reason}") or words.has(f"why-{reason}") for reason in HaltReason
    )
    unread = [reason for reason in Reason if ReportedReason(reason.value, 0.0).is_unread]
    assert unread
    assert [one for one in unread if not words.has(f"verdict-{one}-since")] == []
    assert all(words.has(f"verdict-{one}-since") for one in ("lagging", "stalled", "stopped"))


@pytest.mark.parametrize("reason", ["circuit_open", "throttled", "dead_letters_open"])
def test_the_banner_of_an_outage_does_not_promise_what_was_given_up(reason: str) -> None:
    """It said 'all updates go out by themselves' above a card that asked for 'Sync now'."""
    for words in ALL:
        assert words("sync") in words(f"verdict-{reason}")
        assert words("sync") in words("why-exhausted")


@pytest.mark.parametrize("words", ALL, ids=list(LANGUAGES))
def test_every_message_can_be_said_and_is_no_riddle(words: Words) -> None:
    for name, variables in _messages(words.language).items():
        text = words(
            name, **{variable: 3 if variable == "count" else "x" for variable in variables}
        )
        assert text.strip()
        assert not re.search(r"circuit|ledger|dead letter|breaker|\blease|{|}", text), (name, text)


def test_a_time_of_today_is_the_hour_on_the_wall_and_another_day_is_named() -> None:
    english, norwegian = ALL
    assert english.clock(NOW, NOW) == "14:05"
    assert english.clock(NOW - timedelta(days=1), NOW) == "27 Nov 14:05"
    assert norwegian.clock(NOW - timedelta(days=400), NOW) == "24. okt. 2025 15:05"
    # 23:30 UTC of the day before is today's half past midnight in Oslo.
    assert english.clock(NOW.replace(day=27, hour=23, minute=30), NOW) == "00:30"


def test_distances_are_told_in_both_directions() -> None:
    english, norwegian = ALL
    assert english.ago(NOW - timedelta(minutes=3), NOW) == "3 minutes ago"
    assert english.ago(NOW + timedelta(seconds=20), NOW) == "in 20 seconds"
    assert norwegian.ago(NOW - timedelta(hours=2), NOW) == "for 2 timer siden"


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        (None, "nb-NO,nb;q=0.9,en;q=0.5", "nb"),
        (None, "nn,en;q=0.9", "nb"),
        (None, "no", "nb"),
        (None, "en-GB,nb;q=0.8", "en"),
        (None, "de,nb;q=0.3,en;q=0.7", "en"),
        (None, "nb;q=0,en", "en"),
        (None, "", "en"),
        (None, "*", "en"),
        (None, "nb;q=much,;;,q=", "en"),
        ("nb", "en", "nb"),
        ("xx", "nb", "nb"),
    ],
)
def test_the_language_is_the_one_chosen_else_the_browsers(
    chosen: str | None, accepted: str, language: str
) -> None:
    assert choose(chosen, accepted) == language
