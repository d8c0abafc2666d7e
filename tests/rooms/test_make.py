"""`make setup` and `make demo` from the Makefile's text: what is installed for what, that it shows how
far it is, and that another Python's environment is not mixed with ours.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / "requirements/install.py"


def planned(target: str, venv: Path) -> str:
    """What make would do, were nothing there."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "--dry-run", f"VENV={venv}", f"PYTHON={sys.executable}", target],
        cwd=ROOT,
        env=clean,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_demo_needs_no_test_tools(tmp_path: Path) -> None:
    """Browser, type checker and linters come with `make setup` only."""
    demo, setup = planned("demo", tmp_path / "venv"), planned("setup", tmp_path / "venv")
    assert "requirements/demo.txt" in demo and "requirements/dev.txt" not in demo
    assert "requirements/demo.txt" in setup and "requirements/dev.txt" in setup
    lists = {name: (ROOT / f"requirements/{name}.txt").read_text() for name in ("demo", "dev")}
    locked = {
        name: set(re.findall(r"^[\w.\-]+==\S+", text, re.MULTILINE)) for name, text in lists.items()
    }
    assert locked["demo"] <= locked["dev"], "one version each, or make would change its mind"
    for tool in ("playwright", "mypy", "ruff", "pytest"):
        assert f"\n{tool}==" not in f"\n{lists['demo']}"
        assert f"\n{tool}==" in f"\n{lists['dev']}"


def test_an_environment_of_another_python_is_made_anew(tmp_path: Path) -> None:
    """Its stamp has another name, so that its packages are never taken for ours."""
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / ".ready-2.7").touch()
    (venv / ".runs-2.7").touch()
    assert "made anew" in planned("demo", venv)


@pytest.mark.parametrize("is_wrong", [False, True])
def test_the_installer_says_how_far_it_is_and_what_went_wrong(
    tmp_path: Path, *, is_wrong: bool
) -> None:
    """From what is installed already, so that no network is needed."""
    text = (ROOT / "requirements/demo.txt").read_text(encoding="utf-8")
    locked = re.search(r"^typer==.*?(?=^\S)", text, re.MULTILINE | re.DOTALL)
    assert locked is not None
    file = tmp_path / "some.txt"
    file.write_text(locked[0].replace("typer==", "typer==0.0.") if is_wrong else locked[0])
    options = {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1"}
    done = subprocess.run(
        [sys.executable, str(INSTALL), str(file)],
        env={**os.environ, **options},
        capture_output=True,
        text=True,
        check=False,
    )
    if is_wrong:
        assert done.returncode != 0 and "No matching distribution" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert "some.txt: 1 of up to 1 packages" in done.stdout
