"""docs/contract.md and docs/rules.md say what the code has: exit codes, what ends a worker, tables,
rules, topics.
"""

import re
from pathlib import Path

from hlf_sync.config.settings import Settings
from hlf_sync.core.ending import MEANINGS, WORKER_ENDS, Exit
from hlf_sync.pages import rules as rules_page

_ROOT = Path(__file__).parents[2]
_CONTRACT = (_ROOT / "docs/contract.md").read_text(encoding="utf-8")
# Tables that only we touch: nobody outside may rely on them.
_PRIVATE = {"dbz_heartbeat", "dbz_signal", "schema_migration", "source_watch"}


def test_the_contract_has_each_exit_code_with_its_meaning() -> None:
    assert set(MEANINGS) == set(Exit)
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", _CONTRACT, re.MULTILINE)
    assert rows == [(str(code.value), MEANINGS[code]) for code in Exit]


def test_the_contract_has_what_ends_a_worker() -> None:
    for end in WORKER_ENDS:
        assert f"| {end.cause} | {end.exit_code.value} | {end.leaves} |" in _CONTRACT


def test_the_contract_names_each_of_our_tables_and_no_other() -> None:
    section = _CONTRACT.split("## Our tables")[1].split("\n## ")[0]
    migrations = "".join(
        path.read_text(encoding="utf-8")
        for path in (_ROOT / "consumer/hlf_sync/postgres/migrations").glob("*.sql")
    )
    made = set(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?hlf_sync\.(\w+)", migrations))
    named = {
        name
        for row in re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert named == made - _PRIVATE


def test_the_contract_names_the_topics_of_the_settings() -> None:
    fields = Settings.model_fields
    for name in ("changes_topic", "dead_letters_topic", "reminders_topic"):
        assert f"| `{fields[name].default}` |" in _CONTRACT


def test_the_rules_page_is_what_due_answers() -> None:
    """Print it again after a change: `make docs`."""
    assert (_ROOT / "docs/rules.md").read_text(encoding="utf-8") == rules_page.render()
