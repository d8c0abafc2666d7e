"""`hlf_sync_sandbox.testing`, the pytest plugin for users, where there is no container engine."""

from pathlib import Path

import pytest
from hlf_sync_sandbox import containers, testing
from hlf_sync_sandbox.errors import ArgumentError

from tests.fixtures import users_pytest


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_a_users_test_runs_on_the_wheels_and_leaves_nothing(tmp_path: Path) -> None:
    """Database, topics, registry, by the names that containers have, too."""
    (tmp_path / "tmp").mkdir(mode=0o711)
    tmp_path.chmod(0o711)
    users_pytest.run("wheels", tmp_path, TMPDIR=str(tmp_path / "tmp"))
    assert [path.name for path in (tmp_path / "tmp").glob("hlf-sync-stack-*")] == []


def test_without_an_engine_it_is_the_wheels_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens at this address."""
    monkeypatch.delenv(testing.VARIABLE, raising=False)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    assert not containers.engine_answers()
    assert testing.chosen_kind() == ("wheels", "no container engine of this machine answers")


def test_a_kind_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than taken for either."""
    monkeypatch.setenv(testing.VARIABLE, "docker")
    with pytest.raises(ArgumentError, match="docker"):
        testing.chosen_kind()
