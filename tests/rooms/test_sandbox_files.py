"""The sandbox's files: what is written must be read alike by a shell, by dotenv and by the next
`up`.
"""

import json
import stat
import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hlf_sync_sandbox.account import Account
from hlf_sync_sandbox.errors import ArgumentError
from hlf_sync_sandbox.layout import Layout, check_name, keep_passwords, read_env, tail, write_env
from hlf_sync_sandbox.process import Process
from hlf_sync_sandbox.roster import Roster
from hypothesis import given
from hypothesis import strategies as st

SHELL = 'set -a; . "$0"; printf %s "$NAME"'
WRITABLE = st.text(
    st.characters(blacklist_categories=("C", "Zl", "Zp"), blacklist_characters='\\,:{}$`"'),
    max_size=30,
).filter(str.isprintable)


@given(WRITABLE)
def test_any_folder_that_is_allowed_survives_the_env_file(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    """For our own reader and for dotenv; an apostrophe too."""
    check_name(Path(f"/{name}"), "the folder")
    file = tmp_path_factory.mktemp("env") / "sandbox.env"
    write_env(file, {"NAME": f"/{name}"})
    assert dotenv_values(file, interpolate=False)["NAME"] == read_env(file)["NAME"] == f"/{name}"


@pytest.mark.parametrize(
    "value", ["/plain", "/with space", "/a person's", "https://x/?a=b&c=%20", ""]
)
def test_a_shell_reads_the_env_file_alike(tmp_path: Path, value: str) -> None:
    """Sourced by /bin/sh."""
    file = tmp_path / "sandbox.env"
    write_env(file, {"NAME": value})
    shell = subprocess.run(
        ["/bin/sh", "-c", SHELL, str(file)], capture_output=True, text=True, check=True
    )
    assert shell.stdout == value
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("letter", [*'\\,:{}$`"', "\n", "\x7f"])
def test_a_folder_whose_name_would_mean_something_else_is_refused(letter: str) -> None:
    """Before anything is started; the message shows the letter."""
    with pytest.raises(ArgumentError, match="in its name"):
        check_name(Path(f"/a{letter}b"), "the state folder")


def test_passwords_are_made_once_and_kept_private(tmp_path: Path) -> None:
    """A new role gets one beside those that stay."""
    file = tmp_path / "passwords.json"
    first = keep_passwords(file, ("a",))
    second = keep_passwords(file, ("a", "b"))
    assert second["a"] == first["a"] != second["b"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kafka": 1}', '{"kafka": {"pid": "x"}}'])
def test_a_roster_that_was_cut_short_is_an_empty_one(tmp_path: Path, content: str) -> None:
    """Whatever a crash left in it."""
    layout = Layout.of(tmp_path)
    layout.processes.write_text(content, encoding="utf-8")
    assert Roster(layout).running() == {}


def test_others_read_plain_pids(tmp_path: Path) -> None:
    """pids.json is the contract's; the births are ours."""
    layout = Layout.of(tmp_path)
    roster = Roster(layout)
    roster.add("kafka", Process(1, "never"))
    assert json.loads(layout.pids.read_text(encoding="utf-8")) == {"kafka": 1}
    roster.remove("kafka")
    assert json.loads(layout.pids.read_text(encoding="utf-8")) == {}


def test_the_end_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    """Any bytes; a log that does not exist is an empty one."""
    log = tmp_path / "log"
    assert tail(log) == ""
    log.write_bytes(b"\xff\n" + b"".join(f"{number}\n".encode() for number in range(50_000)))
    assert tail(log, 2) == "49998\n49999"


def test_an_account_passes_only_where_every_folder_lets_it(tmp_path: Path) -> None:
    """A private home above is enough to keep it out."""
    stranger = Account("nobody", 65534, 65534)
    inner = tmp_path / "home" / "inner"
    inner.mkdir(parents=True)
    inner.chmod(0o755)
    (tmp_path / "home").chmod(0o711)
    assert stranger._may_pass(tmp_path / "home")
    (tmp_path / "home").chmod(0o700)
    assert not stranger.may_enter(inner)
