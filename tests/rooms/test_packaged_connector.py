"""The connector and the SQL beside it say the same: one column more in any of them would be a leak
or a failing snapshot.
"""

import re
from collections.abc import Mapping

import pytest
from hlf_sync.connect.connector import places, read_connector
from hlf_sync.packaged import read

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
