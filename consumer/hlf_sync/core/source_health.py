"""Is the source set up so that every change of a mentor becomes a record? One home for the rule:
`doctor` and the leader's watch both ask here.

Pure: what PostgreSQL's catalogue says comes in as a `Shape`, what is wrong goes out as faults, each
with what to do. Names of tables and columns may be shown, values never.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

_SOURCE_SQL = "an administrator runs connectors/sql/02_source.sql again"
_TYPE_CHANGE = "docs/runbook.md, 'The application changes its tables', has the order of steps"


class Part(StrEnum):
    """What can be wrong; the metric's label."""

    PUBLICATION = "publication"
    IDENTITIES = "identities"
    VIEW = "view"
    TABLES = "tables"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is not as it must be."""

    part: Part
    text: str
    fix: str = _SOURCE_SQL


@dataclass(frozen=True, slots=True)
class Publication:
    """`tables` maps a published table to its columns and its row filter ("" for none)."""

    oid: int
    is_for_all: bool
    is_whole: bool
    tables: Mapping[str, tuple[frozenset[str], str]]


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table of that name, now. `kind` is pg_class.relkind, `identity` pg_class.relreplident;
    `identified_by` are the columns of the index that really serves as identity.
    """

    oid: int
    kind: str
    identity: str
    identified_by: frozenset[str]
    columns: Mapping[str, str]
    has_row_security: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """The facts view: columns with their types, and the tables that it really reads, by oid."""

    columns: Mapping[str, str]
    reads: frozenset[int]


@dataclass(frozen=True, slots=True)
class Shape:
    """What the catalogue says at one moment. None: there is no such thing."""

    publication: Publication | None
    tables: Mapping[str, SourceTable]
    view: View | None

    @property
    def fingerprint(self) -> str:
        """What changes when one of them is made anew, though it looks the same."""
        oids = [self.publication.oid if self.publication else 0]
        oids += [self.tables[name].oid if name in self.tables else 0 for name in IDENTIFIED_BY]
        return " ".join(map(str, oids))


# What may leave the database; column order does not count (connectors/sql/02_source.sql).
PUBLISHED: Mapping[str, frozenset[str]] = {
    "app.mentor": frozenset({"id", "organization_code"}),
    "app.certification": frozenset({"id", "mentor_id", "expires_at"}),
    "hlf_sync.contact_mapping": frozenset({"mentor_id"}),
    "hlf_sync.sync_request": frozenset({"id", "mentor_id", "triggered_by", "dead_letter_id"}),
    "hlf_sync.cert_expiry_reminders": frozenset(
        {
            "mentor_id",
            "threshold_day",
            "certification_expiry_date",
            "organization",
            "certification_id",
            "created_at",
        }
    ),
    "hlf_sync.dbz_heartbeat": frozenset({"id", "ts"}),
    "hlf_sync.dbz_signal": frozenset({"id", "type", "data"}),
}
# Whose rows are published: our organisation's only.
_FILTERED_BY: Mapping[str, str] = {
    "app.mentor": "organization_code",
    "hlf_sync.cert_expiry_reminders": "organization",
}
IDENTIFIED_BY: Mapping[str, frozenset[str]] = {
    "app.mentor": frozenset({"id", "organization_code"}),
    "app.certification": frozenset({"id", "mentor_id"}),
    "hlf_sync.contact_mapping": frozenset({"mentor_id"}),
    "hlf_sync.sync_request": frozenset({"id", "mentor_id"}),
    "hlf_sync.cert_expiry_reminders": frozenset(
        {"mentor_id", "threshold_day", "certification_expiry_date", "organization"}
    ),
}
# What the worker reads of the application's (contract.md, source database).
VIEW_COLUMNS: Mapping[str, str] = {
    "mentor_id": "uuid",
    "organization": "text",
    "status": "text",
    "certification_id": "uuid",
    "certificate_expires_at": "timestamp with time zone",
    "certificate_status": "text",
}
# The types that the packaged view, publication and worker can use; 02_source.sql refuses others.
_TYPES: Mapping[str, Mapping[str, frozenset[str]]] = {
    "app.mentor": {
        "id": frozenset({"uuid"}),
        "organization_code": frozenset({"text", "character varying"}),
    },
    "app.certification": {
        "id": frozenset({"uuid"}),
        "mentor_id": frozenset({"uuid"}),
        "expires_at": frozenset({"timestamp with time zone"}),
    },
}
_BEHIND_THE_VIEW = ("app.mentor", "app.certification")


def faults(shape: Shape, publication: str, organization: str) -> list[Fault]:
    """Everything that is wrong, the most telling first; empty when changes are captured as they
    must be.
    """
    return [
        *_tables(shape),
        *publication_faults(shape, publication, organization),
        *identity_faults(shape),
        *view_faults(shape),
    ]


def publication_faults(shape: Shape, name: str, organization: str) -> list[Fault]:
    """Whether exactly these tables, these columns, this organisation's mentors and every operation
    are published.
    """
    found = shape.publication
    if found is None:
        return [Fault(Part.PUBLICATION, f"{name} does not exist: no change is captured")]
    if found.is_for_all:
        return [
            Fault(
                Part.PUBLICATION,
                f"{name} publishes all tables, or a schema's, personal columns with them",
            )
        ]
    wrong = [*_columns_wrong(found), *_filter_wrong(found, organization)]
    if not found.is_whole:
        wrong.append(f"{name} leaves operations out; insert, update, delete, truncate are needed")
    return [Fault(Part.PUBLICATION, text) for text in wrong]


def identity_faults(shape: Shape) -> list[Fault]:
    """What a change's 'before' holds: without it the application's own UPDATE fails, or a deleted
    certification names no mentor.
    """
    wrong = []
    for name, wanted in IDENTIFIED_BY.items():
        table = shape.tables.get(name)
        if table is None:
            wrong.append(f"{name} does not exist")
        elif table.identity == "f":
            wrong.append(f"{name} logs whole rows (FULL)")
        elif not table.identified_by and table.identity == "i":
            wrong.append(
                f"{name} is identified by nothing: its index was dropped, and the application's"
                " own UPDATE and DELETE fail"
            )
        elif table.identified_by != wanted:
            columns = ", ".join(sorted(table.identified_by)) or "nothing"
            wrong.append(f"{name} is identified by {columns}")
    return [Fault(Part.IDENTITIES, text) for text in wrong]


def view_faults(shape: Shape) -> list[Fault]:
    """The contract between the application and us. Another application's tables: another view, so
    only a view that reads one of ours is asked whether it reads both.
    """
    if shape.view is None:
        return [Fault(Part.VIEW, "hlf_sync.mentor_facts does not exist")]
    wrong = [
        f"{name} is {shape.view.columns.get(name, 'missing')}, should be {kind}"
        for name, kind in VIEW_COLUMNS.items()
        if shape.view.columns.get(name) != kind
    ]
    if wrong:
        return [Fault(Part.VIEW, text) for text in wrong]
    return [
        Fault(
            Part.VIEW,
            f"hlf_sync.mentor_facts does not read the {name} that is there now: it was renamed or"
            " made anew",
        )
        for name in _BEHIND_THE_VIEW
        if name in shape.tables and shape.tables[name].oid not in shape.view.reads
    ]


def _tables(shape: Shape) -> list[Fault]:
    found = []
    for name in IDENTIFIED_BY:
        table = shape.tables.get(name)
        if table is None:
            found.append(
                Fault(
                    Part.TABLES,
                    f"{name} does not exist: renamed, moved or dropped",
                    f"bring it back under its name; then {_SOURCE_SQL}",
                )
            )
        elif table.kind != "r":
            what = "partitioned" if table.kind == "p" else f"not an ordinary table ({table.kind})"
            found.append(
                Fault(Part.TABLES, f"{name} is {what}: it cannot be captured so", _TYPE_CHANGE)
            )
        elif table.has_row_security:
            found.append(
                Fault(
                    Part.TABLES,
                    f"{name} has row-level security: mentors may be left out in silence",
                    f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY",
                )
            )
        else:
            found += _types_wrong(name, table)
    return found


def _types_wrong(name: str, table: SourceTable) -> list[Fault]:
    return [
        Fault(
            Part.TABLES,
            f"{name}.{column} is {table.columns.get(column, 'missing')}, should be"
            f" {' or '.join(sorted(types))}",
            _TYPE_CHANGE,
        )
        for column, types in _TYPES.get(name, {}).items()
        if table.columns.get(column) not in types
    ]


def _columns_wrong(publication: Publication) -> list[str]:
    tables = publication.tables
    wrong = [f"{table} is not published" for table in PUBLISHED if table not in tables]
    wrong += [
        f"{table} is published, and should not be" for table in tables if table not in PUBLISHED
    ]
    for table, wanted in PUBLISHED.items():
        published = tables[table][0] if table in tables else wanted
        wrong += [
            f"{table}.{column} is published, and should not be"
            for column in sorted(published - wanted)
        ]
        wrong += [f"{table}.{column} is not published" for column in sorted(wanted - published)]
    return wrong


def _filter_wrong(publication: Publication, organization: str) -> list[str]:
    literal = "'" + organization.replace("'", "''") + "'"
    wrong = []
    for table, column in _FILTERED_BY.items():
        if table not in publication.tables:
            continue
        row_filter = publication.tables[table][1]
        if column not in row_filter or literal not in row_filter:
            wrong.append(
                f"{table}'s row filter is {row_filter or 'missing'}, should name {literal}"
            )
    return wrong
