"""`hlf-sync sandbox seed` and `app`: the application played by hand, on a real PostgreSQL; the
emulator's contacts are a plain dictionary.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from hlf_sync_sandbox import play_cli
from hlf_sync_sandbox.cli import app
from hlf_sync_sandbox.development_key import make_keys
from hlf_sync_sandbox.errors import ArgumentError
from hlf_sync_sandbox.layout import write_env
from hlf_sync_sandbox.play import ACTS, Play
from hlf_sync_sandbox.stack import Sandbox
from typer.testing import CliRunner

from tests.fixtures.cluster import Cluster

pytestmark = pytest.mark.postgres

FIRST = "000000a1-0000-4000-8000-000000000001"


class PlainDynamics:
    """`DynamicsControl`'s contacts."""

    def __init__(self) -> None:
        self.known: dict[str, bool | None] = {}

    def put_contacts(self, contacts: Mapping[str, bool | None]) -> None:
        self.known |= contacts

    def delete_contacts(self, contact_ids: Iterable[str] | None = None) -> int:
        raise NotImplementedError

    def contacts(self) -> dict[str, bool | None]:
        return dict(self.known)


@pytest.fixture
def dynamics() -> PlainDynamics:
    """Without any contact."""
    return PlainDynamics()


@pytest.fixture
def play(cluster: Cluster, database: str, dynamics: PlainDynamics) -> Iterator[Play]:
    """On a fresh database."""
    with Play(cluster.dsn(database), dynamics) as found:  # type: ignore[arg-type]
        yield found


def facts(cluster: Cluster, database: str, mentor_id: str) -> tuple[object, ...] | None:
    """What the view says: organisation, status, whether the certificate is valid."""
    with psycopg.connect(cluster.dsn(database)) as connection:
        return connection.execute(
            "SELECT organization, status, certificate_expires_at > now() FROM"
            " hlf_sync.mentor_facts WHERE mentor_id = %s",
            (mentor_id,),
        ).fetchone()


def test_seeding_makes_mentors_with_certificates_contacts_and_mappings(
    play: Play, dynamics: PlainDynamics
) -> None:
    """Nobody of them is a dead letter: the contact is there before the mentor. Numbers go on."""
    made = play.add(3)
    assert made[0] == FIRST
    everybody = play.mentors()
    assert [one.number for one in everybody] == [1, 2, 3]
    assert {one.contact_id for one in everybody} == set(dynamics.known)
    assert all(one.status == "active" and (one.left_s or 0) > 300 * 86_400 for one in everybody)
    play.do("delete", made[2])
    assert play.add(1)[0].endswith("4"), "a deleted mentor's number is not given again"


@pytest.mark.parametrize(
    ("act", "wanted"),
    [
        ("pause", ("HLF", "paused", True)),
        ("reinstate", ("HLF", "reinstated", True)),
        ("lapse", ("HLF", "active", False)),
        ("revoke", ("HLF", "active", None)),
        ("move", ("OTHER", "active", True)),
        ("delete", None),
    ],
)
def test_each_act_is_what_the_application_would_write(
    play: Play, cluster: Cluster, database: str, act: str, wanted: tuple[object, ...] | None
) -> None:
    """As the facts say afterwards."""
    (mentor_id,) = play.add(1)
    play.do(act, mentor_id)
    assert facts(cluster, database, mentor_id) == wanted


def test_a_renewal_counts_after_a_lapse(play: Play, cluster: Cluster, database: str) -> None:
    """The newest certificate decides."""
    (mentor_id,) = play.add(1)
    play.do("lapse", mentor_id)
    play.do("renew", mentor_id)
    assert facts(cluster, database, mentor_id) == ("HLF", "active", True)


def test_status_repeats_the_link_that_signs_a_coordinator_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`up` has said it once. Red before: after that nobody did."""
    write_env(tmp_path / "sandbox.env", {"HLF_SYNC_WEB_PORT": "8090"})
    (tmp_path / "web").mkdir()
    make_keys(tmp_path / "web")
    (tmp_path / "ports.json").write_text('{"web": 8090}')
    monkeypatch.setattr(Sandbox, "pids", {"web": 1})
    text = CliRunner().invoke(app, ["status", "--state", str(tmp_path)]).output
    assert "http://127.0.0.1:8090/#token=" in text


def test_every_act_has_its_command() -> None:
    """And each command is one that the group knows."""
    names = {
        command.name or getattr(command.callback, "__name__", "")
        for command in play_cli.app.registered_commands
    }
    assert set(ACTS) <= names


def test_an_unmapped_mentor_is_mapped_later_and_once(play: Play, dynamics: PlainDynamics) -> None:
    """The dead letter's way out."""
    (mentor_id,) = play.add(1, is_mapped=False)
    assert play.mentors()[0].contact_id is None
    play.map(mentor_id)
    assert play.mentors()[0].contact_id in dynamics.known
    with pytest.raises(ArgumentError, match="is mapped already") as caught:
        play.map(mentor_id)
    assert caught.value.remedy == f"nothing; `hlf-sync why {mentor_id}` says how she is"


def test_a_mentor_is_found_by_number_or_id_and_a_slip_says_what_there_is(play: Play) -> None:
    """With the way to see everybody."""
    assert play.add(2)[0] == play.find("1") == play.find(FIRST.upper())
    with pytest.raises(ArgumentError, match="there are 2") as caught:
        play.find("3")
    assert "sandbox app list" in caught.value.remedy


def test_without_a_sandbox_each_command_says_how_to_start_one(tmp_path: Path) -> None:
    """Exit code 2, and no folder is made by looking."""
    state = tmp_path / "none"
    down = CliRunner().invoke(app, ["down", "--state", str(state)])
    assert down.exit_code == 0
    assert f"no sandbox in {state}: nothing was stopped" in down.output
    for words in (["seed", "2"], ["app", "list"], ["status"], ["logs", "kafka"], ["psql"]):
        result = CliRunner().invoke(app, [*words, "--state", str(state)])
        assert (result.exit_code, "sandbox up" in result.output) == (2, True), words
    assert not state.exists()


def test_status_of_a_sandbox_that_is_down_says_so_by_its_exit_code(tmp_path: Path) -> None:
    """Each part that was started, with its log; and `logs` prints the last lines of one."""
    write_env(tmp_path / "sandbox.env", {"HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/kafka.log").write_text("one\ntwo\nthree\n")
    result = CliRunner().invoke(app, ["status", "--json", "--state", str(tmp_path)])
    assert result.exit_code == 3
    (part,) = json.loads(result.output)["parts"]
    assert (part["part"], part["now"], part["pid"]) == ("kafka", "down", None)
    assert "signed in" not in CliRunner().invoke(app, ["status", "--state", str(tmp_path)]).output
    result = CliRunner().invoke(app, ["logs", "kafka", "-n", "2", "--state", str(tmp_path)])
    assert (result.exit_code, result.output) == (0, "two\nthree\n")
    result = CliRunner().invoke(app, ["logs", "kafkaa", "--state", str(tmp_path)])
    assert (result.exit_code, "there are kafka" in result.output) == (2, True)
