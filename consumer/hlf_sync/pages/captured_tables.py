"""The captured tables and columns, read from the SQL that an administrator runs and from the
migrations: what `connectors/sql/02_source.sql` publishes, and of which types it must be.

Used by the pages for neighbours (`asyncapi`, `data_contract`). Decides nothing: a name that the SQL
does not have cannot be in a page.
"""

import re
from dataclasses import dataclass
from importlib.resources import files

from hlf_sync.packaged import read

_PUBLICATION = re.compile(r"\$tables\$(.*?)\$tables\$", re.DOTALL)
_TABLE = re.compile(
    r"(?P<name>\w+\.\w+)(?: \((?P<columns>[^)]*)\))?(?:\s+WHERE \((?P<filter>\w+) =)?"
)
_REQUIRED = re.compile(
    r"\('(?P<table>app\.\w+)',\s+'(?P<column>\w+)',\s+(?P<not_null>true|false),\s+(?:'\{(?P<types>[^}]*)\}'|NULL)"
)
_CREATED = re.compile(r"CREATE TABLE (?P<name>hlf_sync\.\w+) \((?P<body>.*?)\);", re.DOTALL)
_COLUMN = re.compile(r"(?P<name>[a-z]\w*)\s+(?P<type>[a-z]+(?:\(\d+\))?)(?P<rest>.*)", re.DOTALL)
_BETWEEN_COLUMNS = re.compile(r",(?![^(]*\))")
# What PostgreSQL calls the types that the migrations write shorter.
_LONG_NAMES = {"timestamptz": "timestamp with time zone"}
# A column that may be of any type is read as text.
_ANY = "text"


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedColumn:
    """A published column. `types` are those it may have, the usual one first."""

    name: str
    types: tuple[str, ...]
    is_required: bool
    is_key: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class CapturedTable:
    """A published table; only rows whose `filter_column` is the organisation's, where there is
    one.
    """

    name: str
    columns: tuple[PublishedColumn, ...]
    filter_column: str | None


def captured_tables() -> dict[str, CapturedTable]:
    """Name with schema → table, in the order of the publication."""
    source = read("sql/02_source.sql")
    published = _PUBLICATION.search(source)
    if published is None:
        raise ValueError("connectors/sql/02_source.sql names no published tables")
    known = {**_of_application(source), **_of_migrations()}
    return {
        found["name"]: CapturedTable(
            name=found["name"],
            columns=_chosen(known[found["name"]], found["columns"]),
            filter_column=found["filter"],
        )
        for found in _TABLE.finditer(published[1])
    }


def _chosen(columns: dict[str, PublishedColumn], names: str | None) -> tuple[PublishedColumn, ...]:
    """The columns of the publication's list; all of them where it has none."""
    if names is None:
        return tuple(columns.values())
    return tuple(columns[name.strip()] for name in names.split(","))


def _of_application(source: str) -> dict[str, dict[str, PublishedColumn]]:
    """What 02_source.sql demands of the application's columns."""
    tables: dict[str, dict[str, PublishedColumn]] = {}
    for found in _REQUIRED.finditer(source):
        types = tuple((found["types"] or _ANY).split(","))
        tables.setdefault(found["table"], {})[found["column"]] = PublishedColumn(
            name=found["column"],
            types=types,
            is_required=found["not_null"] == "true",
            is_key=found["column"] == "id",
        )
    return tables


def _of_migrations() -> dict[str, dict[str, PublishedColumn]]:
    """Our own tables, as the migrations make them."""
    folder = files("hlf_sync.postgres") / "migrations"
    tables: dict[str, dict[str, PublishedColumn]] = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if not path.name.endswith(".sql"):
            continue
        for found in _CREATED.finditer(path.read_text(encoding="utf-8")):
            tables[found["name"]] = _columns(re.sub(r"--[^\n]*", "", found["body"]))
    return tables


def _columns(body: str) -> dict[str, PublishedColumn]:
    parts = [part.strip() for part in _BETWEEN_COLUMNS.split(body)]
    keys = {
        name.strip()
        for part in parts
        if part.startswith("PRIMARY KEY")
        for name in part.partition("(")[2].strip(")").split(",")
    }
    found = [match for part in parts if (match := _COLUMN.match(part))]
    return {
        match["name"]: PublishedColumn(
            name=match["name"],
            types=(_LONG_NAMES.get(match["type"], match["type"]),),
            is_required="NOT NULL" in match["rest"] or "PRIMARY KEY" in match["rest"],
            is_key="PRIMARY KEY" in match["rest"] or match["name"] in keys,
        )
        for match in found
    }
