"""`sweep` and `reconcile` for a selection, and `rehearse` of other rules."""

import json
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from hlf_sync.postgres import comparison

from tests.fixtures.cluster import Cluster
from tests.fixtures.command import Answer, command

pytestmark = pytest.mark.postgres


class Desk:
    """A database, and the operator's command line."""

    def __init__(self, dsn: str, sync_dsn: str) -> None:
        self.dsn, self.sync_dsn = dsn, sync_dsn

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def mentor(
        self, status: str, applied: str | None = None, age: str = "0 s", organization: str = "HLF"
    ) -> str:
        mentor_id = str(uuid4())
        self.sql(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, %s, %s)",
            mentor_id,
            organization,
            status,
        )
        self.sql(
            "INSERT INTO app.certification VALUES (gen_random_uuid(), %s, 'valid', now() + interval"
            " '1 year')",
            mentor_id,
        )
        self.sql("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", mentor_id, mentor_id)
        if applied:
            self.sql(
                "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, updated_at) VALUES"
                " (%s, %s, 'in_sync', now() - %s::interval)",
                mentor_id,
                applied,
                age,
            )
        return mentor_id

    def run(self, *arguments: str) -> Answer:
        return command({"HLF_SYNC_POSTGRES_DSN": self.sync_dsn}, *arguments)

    def asked(self) -> set[object]:
        return {row[0] for row in self.sql("SELECT mentor_id::text FROM hlf_sync.sync_request")}


def breaks_the_view(desk: Desk, status: str) -> None:
    """It divides by zero for mentors of this status."""
    view = str(desk.sql("SELECT pg_get_viewdef('hlf_sync.mentor_facts'::regclass)")[0][0])
    view = view.strip().rstrip(";")
    desk.sql(
        "CREATE OR REPLACE VIEW hlf_sync.mentor_facts AS SELECT mentor_id, organization, CASE WHEN"
        f" status = '{status}' THEN (1 / (length(status) - {len(status)}))::text ELSE status END AS"
        f" status, certification_id, certificate_expires_at, certificate_status FROM ({view}) v"
    )


@pytest.fixture
def desk(cluster: Cluster, database: str) -> Desk:
    return Desk(cluster.dsn(database), cluster.dsn(database, "hlf_sync"))


def test_a_sweep_of_a_selection_asks_for_exactly_those(desk: Desk, tmp_path: Path) -> None:
    old = desk.mentor("paused", "hidden", "3 days")
    new = desk.mentor("paused", "hidden")
    active = desk.mentor("active", "visible")
    file = tmp_path / "whom.txt"
    file.write_text(f"# from the ticket\n\n{old.upper()}  # old\n{active}\n")
    for options, expected in [
        (["--mentor", new], {new}),
        (["--file", str(file)], {old, active}),
        (["--mentor", new, "--file", str(file)], {old, active, new}),
        (["--status", "paused"], {old, new}),
        (["--status", "paused", "--since", "1d"], {new}),
        (["--file", str(file), "--status", "active"], {active}),
    ]:
        desk.sql("DELETE FROM hlf_sync.sync_request")
        assert desk.run("sweep", *options, "--json").content == {"requests": len(expected)}
        assert desk.asked() == expected, options
        desk.sql("DELETE FROM hlf_sync.sync_request")
    assert desk.run("sweep", "--all", "--json").content == {"requests": 3}


@pytest.mark.requirement("R08")
def test_a_sweep_compares_everybody_and_asks_for_those_of_whom_something_is_due(
    desk: Desk,
) -> None:
    """Who is shown and should not be, who was never delivered, who is gone, whose letter is open;
    not who is as it should be.
    """
    rest = {desk.mentor("paused", "hidden") for _ in range(3)}
    wrong, new = desk.mentor("paused", "visible"), desk.mentor("paused")
    gone, failed = desk.mentor("paused", "visible"), desk.mentor("paused", "visible")
    desk.sql("DELETE FROM app.certification WHERE mentor_id = %s", gone)
    desk.sql("DELETE FROM app.mentor WHERE id = %s", gone)
    desk.sql(
        "UPDATE hlf_sync.mentor_ledger SET state = 'dead_lettered' WHERE mentor_id = %s", failed
    )
    assert desk.run("sweep", "--json").content == {"requests": 4, "compared": 7}
    assert desk.asked() == {wrong, new, gone, failed}
    assert not desk.asked() & rest


@pytest.mark.requirement("R68")
def test_a_sweep_passes_over_no_page_and_stops_at_no_view_that_fails(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of three; for one mentor the view divides by zero: that one is asked for."""
    monkeypatch.setattr(comparison, "PAGE", 3)
    for _ in range(8):
        desk.mentor("paused", "hidden")
    odd = desk.mentor("odd", "hidden")
    breaks_the_view(desk, "odd")
    assert desk.run("sweep", "--json").content == {"requests": 1, "compared": 9}
    assert desk.asked() == {odd}


@pytest.mark.parametrize("verb", ["sweep", "reconcile"])
def test_a_selection_of_nobody_is_never_taken_for_everybody(
    desk: Desk, verb: str, tmp_path: Path
) -> None:
    desk.mentor("paused", "visible")
    for options in (["--status", "nonsense"], ["--file", str(tmp_path / "none")]):
        with pytest.raises(Exception, match=r"nobody is selected|cannot be read"):
            desk.run(verb, *options)
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(Exception, match="nobody is selected"):
        desk.run(verb, "--file", str(tmp_path / "empty"))
    (tmp_path / "wrong").write_text("not-an-id\n")
    with pytest.raises(Exception, match="line 1"):
        desk.run(verb, "--file", str(tmp_path / "wrong"))
    assert desk.asked() == set()


def test_reconcile_looks_at_the_selection_only(desk: Desk) -> None:
    wrong, other = desk.mentor("paused", "visible"), desk.mentor("active", "hidden")
    found = desk.run("reconcile", "--status", "paused", "--settle", "0", "--json")
    assert found.code == 1
    assert wrong in found.text
    assert other not in found.text


def test_a_wait_for_a_selection_does_not_wait_for_the_others(desk: Desk) -> None:
    done, _open = desk.mentor("paused", "hidden"), desk.mentor("paused")
    desk.sql(
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE"
        " hlf_sync.mentor_ledger SET updated_at = clock_timestamp() + interval '1 s' WHERE"
        " mentor_id = NEW.mentor_id; RETURN NULL; END $$"
    )
    desk.sql(
        "CREATE TRIGGER look AFTER INSERT ON hlf_sync.sync_request FOR EACH ROW EXECUTE"
        " FUNCTION look()"
    )
    assert desk.run("sweep", "--mentor", done, "--wait", "--json").content == {
        "requests": 1,
        "given_up": 0,
    }


def test_a_rehearsal_shows_whom_another_status_set_would_remove_restore_or_refuse(
    desk: Desk, tmp_path: Path
) -> None:
    sabbatical = desk.mentor("sabbatical", "visible")
    active = desk.mentor("active", "visible")
    paused = desk.mentor("paused", "hidden")
    rules = tmp_path / "rules.json"
    rules.write_text(
        json.dumps(
            {
                "visible_statuses": ["reinstated", "paused"],
                "hidden_statuses": ["sabbatical", "expired_cert"],
            }
        )
    )
    answer = desk.run("rehearse", "--rules", str(rules), "--json").content
    assert (answer["removed"], answer["restored"], answer["refused"]) == (
        [sabbatical],
        [paused],
        [active],
    )
    assert desk.asked() == set()
    rules.write_text("{}")
    assert "nothing would change" in desk.run("rehearse", "--rules", str(rules)).text


def test_a_rehearsal_of_another_organisation_code_removes_ours_and_restores_theirs(
    desk: Desk, tmp_path: Path
) -> None:
    ours = [desk.mentor("active", "visible") for _ in range(25)]
    theirs = desk.mentor("active", organization="XYZ")
    rules = tmp_path / "rules.json"
    rules.write_text('{"organization": "XYZ"}')
    answer = desk.run("rehearse", "--rules", str(rules), "--json").content
    assert (set(answer["removed"]), answer["restored"]) == (set(ours), [theirs])
    assert answer["removals_allowed_at_once"] == 20
    assert "mass change guard lets 20" in desk.run("rehearse", "--rules", str(rules)).text


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        '{"visible": ["active"]}',
        '{"visible_statuses": "active"}',
        '{"organization": ""}',
        '{"visible_statuses": ["paused"]}',
    ],
)
def test_a_file_of_other_content_is_a_mistake(desk: Desk, tmp_path: Path, text: str) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(text)
    with pytest.raises(Exception, match="--rules"):
        desk.run("rehearse", "--rules", str(rules))
