"""The command line's root: its list of commands is cheap and right."""

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import typer
from hlf_sync import commands
from hlf_sync.commands.app import app
from hlf_sync.commands.catalogue import EXTRAS, ROWS, CatalogueRow, load
from typer.core import TyperGroup
from typer.testing import CliRunner

# Whatever talks to others, draws, or checks settings: none of it is needed to list commands.
_HEAVY = (
    "aiohttp",
    "asyncio",
    "confluent_kafka",
    "cryptography",
    "fastavro",
    "httpx",
    "msal",
    "orjson",
    "psycopg",
    "pydantic",
    "rich",
    "starlette",
    "structlog",
    "hlf_sync.config",
    "hlf_sync.worker",
    "hlf_sync_sandbox",
)
NOBODY = "6f1a1f3c-0000-4000-8000-000000000001"
_IMPORTED = """
import atexit, sys
atexit.register(lambda: print(*sorted(sys.modules), sep="\\n", file=sys.stderr))
sys.argv = ["hlf-sync", *sys.argv[1:]]
from hlf_sync.__main__ import main
main()
"""


def imported(*arguments: str) -> set[str]:
    """The modules that a command line has imported when it ends."""
    ran = subprocess.run(
        [sys.executable, "-c", _IMPORTED, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(ran.stderr.split())


def test_the_list_of_commands_imports_no_client() -> None:
    """So that it is there at once (0.12 s; 1.7 s before)."""
    found = imported("--help")
    assert "hlf_sync.commands.app" in found
    assert found & set(_HEAVY) == set()


def test_a_command_imports_its_own_module_only() -> None:
    """No other command's, no worker, no Kafka client for a command of PostgreSQL."""
    found = imported("pause", "--help")
    assert {name for name in found if name.startswith("hlf_sync.commands.")} <= {
        f"hlf_sync.commands.{name}"
        for name in (
            "app",
            "catalogue",
            "exit_codes",
            "lazy",
            "options",
            "pause",
            "terminal",
            "times",
        )
    } | {"hlf_sync.commands.waiting", "hlf_sync.commands.selection"}
    assert "hlf_sync.worker" not in found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_catalogue_says_of_each_command_what_it_says_itself(row: CatalogueRow) -> None:
    """Its panel and its first sentence."""
    command = load(row)
    first = " ".join((command.help or "").split("\n\n")[0].split())
    assert (command.rich_help_panel, first) == (row.panel, row.summary)


def test_the_catalogue_knows_what_the_sandbox_adds() -> None:
    """First sentences again."""
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    assert set(EXTRAS) == {point.name for point in entry_points(group="hlf_sync.commands")}
    for name, summary in EXTRAS.items():
        command = root.commands[name]
        assert " ".join((command.help or "").split("\n\n")[0].split()) == summary


def test_the_list_shows_every_command_in_its_panel() -> None:
    """Once each; a misspelt one is refused with 2."""
    shown = CliRunner().invoke(app, ["--help"]).output
    for row in ROWS:
        assert shown.count(f"\n  {row.name} ") == 1, row.name
    for panel in {row.panel for row in ROWS}:
        assert f"\n{panel}:\n" in shown
    assert CliRunner().invoke(app, ["sweeep"]).exit_code == 2


@pytest.mark.parametrize(
    "arguments", [("status",), ("pending",), ("top", "--once"), ("why", NOBODY), ("replay", "plan")]
)
def test_every_command_warns_of_what_looks_like_a_setting(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """Red before: `run` and `doctor` alone did."""
    file = tmp_path / "typo.env"
    file.write_text("HLF_SYNC_DELIVRY='shadow'\nHLF_SYNC_HTTP_PORT='1'\n", encoding="utf-8")
    result = CliRunner().invoke(app, [*arguments, "--env-file", str(file)])
    assert "HLF_SYNC_DELIVRY is not a setting of hlf-sync; did you mean" in result.stderr


def test_no_command_reads_its_settings_past_that_warning() -> None:
    """Those that tell of it in another way are known by name."""
    folder = Path(commands.__file__).parent
    past = {
        path.stem
        for path in folder.glob("*.py")
        if re.search(r"import .*\bload\b", path.read_text(encoding="utf-8"))
        and "config.loading" in path.read_text(encoding="utf-8")
    }
    assert past == {"options", "run", "web", "doctor"}


def test_a_command_that_stands_in_a_group_is_named_with_it() -> None:
    """Red before: "No such command 'seed'. Did you mean 'sweep'?"."""
    for name, meant in (("seed", "hlf-sync sandbox seed"), ("apply", "hlf-sync replay apply")):
        result = CliRunner().invoke(app, [name, "3"])
        assert (result.exit_code, meant in result.stderr) == (2, True), result.stderr
    assert "Did you mean 'status'" in CliRunner().invoke(app, ["statsu"]).stderr


def test_an_env_file_that_only_a_sandbox_writes_says_so(tmp_path: Path) -> None:
    """Red before: "no such file"."""
    for name, hint in (
        ("sandbox.env", "`hlf-sync sandbox up` writes it"),
        ("x.env", "no such file"),
    ):
        result = CliRunner().invoke(app, ["status", "--env-file", str(tmp_path / name)])
        assert str(result.exception).endswith(hint)
