"""The connector and the SQL beside it say the same: one column more in any of them would be a leak
or a failing snapshot.
"""

import re
from collections.abc import Mapping

import pytest
from hlf_sync.config.settings import Settings
from hlf_sync.connect.connector import places, read_connector
from hlf_sync.core.model import Change, Position
from hlf_sync.decode.envelope import Envelopes, SourceContract, Table
from hlf_sync.decode.fields import encoded
from hlf_sync.packaged import read
from pydantic import ValidationError

_PERSONAL = {
    "full_name",
    "email",
    "phone",
    "notes",
    "updated_at",
    "requested_by",
    "reason",
    "contact_id",
}


REMINDERS = "hlf_sync.cert_expiry_reminders"


def _config() -> Mapping[str, str]:
    values = places(
        organization="HLF", changes_topic="hlf.mentor.changes", source_file="/source.properties"
    )
    return read_connector(None, values).config


def _included() -> dict[str, set[str]]:
    """The table → columns of column.include.list."""
    pattern = r"(\w+)\\\.(\w+)\\\.(?:\(([\w|]+)\)|(\w+))"
    found = re.findall(pattern, _config()["column.include.list"])
    return {
        f"{schema}.{table}": set((several or one).split("|"))
        for schema, table, several, one in found
    }


def _listed(pattern: str) -> dict[str, set[str]]:
    return {
        table: set(re.split(r",\s*", columns))
        for columns, table in re.findall(pattern, read("sql/02_source.sql"))
    }


@pytest.mark.requirement("R45")
def test_included_columns_published_columns_and_granted_columns_are_the_same() -> None:
    """Three lists, one content, for the five tables with mentors."""
    granted = _listed(r"GRANT SELECT \(([\w, ]+)\) ON ([\w.]+) TO hlf_cdc")
    published = {
        table: set(columns.split(", "))
        for table, columns in re.findall(
            r"^ {8}([\w.]+) \(([\w, ]+)\)", read("sql/02_source.sql"), re.MULTILINE
        )
    }
    assert len(_included()) == 5
    assert _included() == published
    assert {table: columns for table, columns in granted.items() if table in published} == published


@pytest.mark.requirement("R45")
def test_no_personal_column_is_named() -> None:
    """Neither included, nor in the snapshot's own statement."""
    config = _config()
    assert not _PERSONAL & set().union(*_included().values())
    assert not [
        word
        for word in _PERSONAL
        if word in config["snapshot.select.statement.overrides.app.mentor"]
    ]


@pytest.mark.requirement("R68")
def test_no_captured_text_is_of_any_length() -> None:
    """A record that Kafka refuses for its size stops the stream for everybody: a status leaves the
    database not at all, and every other text is cut, or bounded by its column's type.
    """
    # uuid, numbers and dates; what the signal's table holds is varchar(2048) and shorter
    other = {"id", "mentor_id", "certification_id", "threshold_day", "expires_at", "created_at"}
    config = _config()
    texts = {
        f"{table}.{column}"
        for table, columns in _included().items()
        for column in columns - other - {"certification_expiry_date"}
    }
    cut = [re.compile(one) for one in config["column.truncate.to.500.chars"].split(",")]
    assert texts
    assert [one for one in texts if not any(p.fullmatch(one) for p in cut)] == []
    assert config["skip.messages.without.change"] == "false"


def test_a_code_that_was_cut_is_not_our_organisation_s() -> None:
    """Nor is a letter's id that was cut another letter's: both are shorter than what is left."""
    (left,) = [int(key.split(".")[3]) for key in _config() if key.startswith("column.truncate.to.")]
    with pytest.raises(ValidationError):
        Settings(organization="x" * left)
    longest = encoded("x" * left)
    row = (encoded("c"), None, None, None, None, encoded("dead_letter_replay"), longest)
    change = Envelopes(SourceContract("HLF")).change(
        Table.SYNC_REQUEST, row, b"6f1a1f3c-0000-4000-8000-000000000001", Position(0, 0), 0
    )
    assert isinstance(change, Change) and change.dead_letter_id is None


def test_the_snapshot_statement_reads_the_included_columns() -> None:
    """Otherwise snapshot and stream would differ."""
    statement = _config()["snapshot.select.statement.overrides.app.mentor"]
    selected = re.fullmatch(
        r"SELECT ([\w, ]+) FROM app\.mentor WHERE organization_code = 'HLF'", statement
    )
    assert selected
    assert set(selected[1].split(", ")) == _included()["app.mentor"]


def test_every_captured_table_with_a_mentor_has_a_key_and_goes_to_one_topic() -> None:
    """The route is anchored: a table that merely begins alike stays out."""
    config = _config()
    keyed = dict(entry.split(":") for entry in config["message.key.columns"].split(";"))
    assert keyed.keys() == set(config["table.include.list"].split(",")) - {
        "hlf_sync.dbz_signal",
        "hlf_sync.dbz_heartbeat",
    }
    for table in keyed:
        routes = ["transforms.route.regex", "transforms.routeReminder.regex"]
        assert [bool(re.fullmatch(config[route], f"hlf.{table}")) for route in routes] == [
            table != REMINDERS,
            table == REMINDERS,
        ]
        patterns = [config["predicates.isMentor.pattern"], config["predicates.isOfMentor.pattern"]]
        assert [bool(re.fullmatch(pattern, f"hlf.{table}")) for pattern in patterns].count(
            True
        ) == 1
    assert not re.fullmatch(config["transforms.route.regex"], "hlf.app.certification_type")


def test_no_secret_stands_in_the_file() -> None:
    """Only where Connect finds it."""
    secret = {key: value for key, value in _config().items() if "password" in key}
    assert secret == {"database.password": "${file:/source.properties:password}"}
