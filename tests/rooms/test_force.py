"""`hlf-sync force` in words: how a mentor stands, and by its exit code what became of the look."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import psycopg
import pytest
from hlf_sync.__main__ import main
from hlf_sync.core.decide import Rules
from hlf_sync.core.model import Facts, Known, LedgerRow, LedgerState, Visibility
from hlf_sync.why.one_sentence import tell

from tests.fixtures.cluster import Cluster

MENTOR = "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', %s)"
LEDGER = "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, generation) VALUES (%s, %s, %s, 1)"


@dataclass
class Desk:
    """The command line on a database without a fleet."""

    dsn: str
    monkeypatch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    def sql(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement.encode(), values)

    def requests(self) -> int:
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute("SELECT count(*) FROM hlf_sync.sync_request").fetchone()
            return int(row[0]) if row else 0

    def force(self, mentor_id: str, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        command = ["hlf-sync", "force", mentor_id, "--reason", "x", *arguments]
        self.monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        said = self.capture.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), said.out, said.err

    def once_it_waits(self, act: Callable[[], object]) -> None:
        """What a worker would do meanwhile."""
        looks = iter(range(1_000))
        self.monkeypatch.setattr(time, "sleep", lambda _s: act() if next(looks) == 1 else None)


@pytest.fixture
def desk(
    cluster: Cluster,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Desk:
    """As the sync role."""
    monkeypatch.setenv("HLF_SYNC_POSTGRES_DSN", cluster.dsn(database, "hlf_sync"))
    return Desk(cluster.dsn(database), monkeypatch, capsys)


@pytest.mark.postgres
@pytest.mark.requirement("R61")
def test_a_paused_and_listed_mentor_is_said_to_be_wrong(desk: Desk) -> None:
    """Never 'in_sync visible', which is the ledger's past."""
    mentor_id = str(uuid4())
    desk.sql(MENTOR, mentor_id, "paused")
    desk.sql(LEDGER, mentor_id, "visible", "in_sync")
    code, out, _ = desk.force(mentor_id)
    assert code == 0
    assert f"{mentor_id} should be hidden (the status is paused); it is shown" in out
    assert "no Dynamics contact is mapped" in out
    assert "asked for a look (request 1); --wait waits for it" in out
    assert "in_sync" not in out


@pytest.mark.postgres
def test_a_mentor_whom_nobody_knows_is_a_wrong_argument(desk: Desk) -> None:
    """A slip in the id looks like no success, and asks for nothing."""
    mentor_id = str(uuid4())
    code, _, said = desk.force(mentor_id)
    assert code == 2
    assert f"nobody knows {mentor_id}" in said
    assert desk.requests() == 0


@pytest.mark.postgres
@pytest.mark.requirement("R42")
def test_a_look_that_ends_in_a_dead_letter_is_no_success(desk: Desk) -> None:
    """Exit code 1, which letter, and how to read it."""
    mentor_id = str(uuid4())
    desk.sql(MENTOR, mentor_id, "paused")
    desk.sql(LEDGER, mentor_id, "visible", "in_sync")
    letter = f"{mentor_id}:2"
    desk.once_it_waits(
        lambda: desk.sql(
            "UPDATE hlf_sync.mentor_ledger SET state = 'dead_lettered', last_error_code = 'not_found',"
            " dead_letter_id = %s, updated_at = now() + interval '1 s' WHERE mentor_id = %s",
            letter,
            mentor_id,
        )
    )
    code, out, _ = desk.force(mentor_id, "--wait")
    assert code == 1
    assert f"given up: not found (`hlf-sync replay show {letter}`)" in " ".join(out.split())


@pytest.mark.postgres
def test_json_has_both_values_in_the_words_of_people(desk: Desk) -> None:
    """Beside what the ledger says."""
    mentor_id = str(uuid4())
    desk.sql(MENTOR, mentor_id, "paused")
    desk.sql(LEDGER, mentor_id, "visible", "in_sync")
    _, out, _ = desk.force(mentor_id, "--json")
    found = json.loads(out)
    assert (found["should_be"], found["shown"], found["applied"]) == ("hidden", "shown", "visible")
    assert (found["waited"], found["is_given_up"]) == (False, False)


def known(status: str | None, ledger: LedgerRow, *, contact: str | None = "c") -> Known:
    facts = None if status is None else Facts("HLF", status, "1", 2_000_000_000.0)
    return Known(facts, ledger, has_ledger=True, contact_id=contact)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "ledger", "words"),
    [
        (
            "paused",
            LedgerRow(Visibility.HIDDEN),
            "is hidden, as it should be: the status is paused",
        ),
        (
            "active",
            LedgerRow(Visibility.VISIBLE),
            "is shown, as it should be: the status is active",
        ),
        ("active", LedgerRow(), "should be shown (the status is active"),
        (
            "paused",
            LedgerRow(Visibility.VISIBLE, Visibility.HIDDEN),
            "what Dynamics shows is not known",
        ),
        (None, LedgerRow(Visibility.HIDDEN), "is not a mentor of ours, and needs nothing"),
        (None, LedgerRow(Visibility.VISIBLE), "should be hidden (the view has no row"),
        ("nonsense", LedgerRow(Visibility.VISIBLE), "cannot be judged: the status is outside"),
        (
            "paused",
            LedgerRow(
                Visibility.HIDDEN, state=LedgerState.DEAD_LETTERED, last_error_code="rejected"
            ),
            "given up: rejected",
        ),
    ],
)
def test_each_standing_has_its_sentence(status: str | None, ledger: LedgerRow, words: str) -> None:
    """From the one rule."""
    assert words in tell(known(status, ledger), 1_700_000_000.0, Rules()).sentence


def test_without_a_valid_certificate_who_returns_is_left_as_he_is() -> None:
    """R05's silence, said."""
    bare = Known(Facts("HLF", "reinstated"), LedgerRow(), has_ledger=False, contact_id=None)
    told = tell(bare, 1_700_000_000.0, Rules())
    assert told.sentence.startswith("is left as it is: the status would show the mentor")
    assert told.should_be == "hidden"


def test_an_interrupted_wait_says_that_the_request_stands(desk: Desk) -> None:
    someone = str(uuid4())
    desk.sql(MENTOR, someone, "paused")

    def interrupt() -> None:
        raise KeyboardInterrupt

    desk.once_it_waits(interrupt)
    code, _, told = desk.force(someone, "--wait")
    assert (code, desk.requests()) == (130, 1)
    assert "The request stands" in told
