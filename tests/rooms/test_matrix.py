"""`make matrix`, as far as it needs no stack: what a cell changes, and what its row says."""

from pathlib import Path

import pytest
from hlf_sync_sandbox import jars
from hlf_sync_sandbox.parts import connect

from tests.matrix import __main__ as matrix
from tests.matrix.cell import use_jars

_POLICY = "connector.client.config.override.policy"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["  all equal", "the stack goes down", "Next: play it yourself"], "all equal"),
        (["  NOT EQUAL", "the stack goes down"], "NOT EQUAL"),
        (["connect: ended", "What to do: read connect.log"], "What to do: read connect.log"),
        ([], "it said nothing"),
    ],
)
def test_a_row_has_the_storys_verdict_or_its_last_word(lines: list[str], said: str) -> None:
    """The demo goes on talking after its verdict."""
    assert matrix._verdict(lines) == said


@pytest.mark.parametrize(
    ("release", "policy"), [("3.9.2", "All"), ("4.1.2", "All"), ("4.2.0", "Allowlist")]
)
def test_a_connect_that_knows_no_allow_list_is_not_given_one(
    release: str, policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KIP-1188, Kafka 4.2: an older one ends at its start."""
    monkeypatch.setattr(jars, "LOCK_FILE", jars.LOCK_FILE)
    monkeypatch.setitem(connect._SETTINGS, _POLICY, "Allowlist")
    lock = tmp_path / "lock"
    known = jars.load()["connect"][0]
    text = jars.LOCK_FILE.read_text(encoding="utf-8")
    lock.write_text(text.replace(f":{known.version}:", f":{release}:"), encoding="utf-8")
    use_jars(lock)
    assert connect._SETTINGS[_POLICY] == policy
