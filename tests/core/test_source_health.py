"""What of the source is wrong, told from what the catalogue says."""

from dataclasses import replace

import pytest
from hlf_sync.core.source_health import (
    IDENTIFIED_BY,
    PUBLISHED,
    VIEW_COLUMNS,
    Part,
    Publication,
    Shape,
    SourceTable,
    View,
    faults,
)

PUBLICATION = "hlf_mentor_pub"
FILTER = "(organization_code = 'HLF'::text)"
FILTERS = {
    "app.mentor": FILTER,
    "hlf_sync.cert_expiry_reminders": "(organization = 'HLF'::text)",
}
TYPES = {
    "app.mentor": {"id": "uuid", "organization_code": "text", "status": "text"},
    "app.certification": {
        "id": "uuid",
        "mentor_id": "uuid",
        "expires_at": "timestamp with time zone",
    },
}


def whole() -> Shape:
    """As it must be."""
    tables = {
        name: SourceTable(oid, "r", "i", columns, TYPES.get(name, {}))
        for oid, (name, columns) in enumerate(IDENTIFIED_BY.items(), start=1)
    }
    published = {name: (columns, FILTERS.get(name, "")) for name, columns in PUBLISHED.items()}
    view = View(VIEW_COLUMNS, frozenset({1, 2}))
    return Shape(Publication(9, False, True, published), tables, view)


PUBLISHED_AS = {name: (columns, FILTERS.get(name, "")) for name, columns in PUBLISHED.items()}


def found(shape: Shape, organization: str = "HLF") -> list[tuple[Part, str]]:
    return [(one.part, one.text) for one in faults(shape, PUBLICATION, organization)]


def with_table(name: str, **changed: object) -> Shape:
    shape = whole()
    return replace(
        shape,
        tables={**shape.tables, name: replace(shape.tables[name], **changed)},  # type: ignore[arg-type]
    )


def published(**changed: object) -> Shape:
    shape = whole()
    assert shape.publication is not None
    return replace(shape, publication=replace(shape.publication, **changed))  # type: ignore[arg-type]


def test_a_source_as_it_must_be_has_no_fault() -> None:
    assert found(whole()) == []
    oids = range(1, len(IDENTIFIED_BY) + 1)
    assert whole().fingerprint == " ".join(map(str, (9, *oids)))


def test_nothing_at_all_is_told_part_by_part() -> None:
    nothing = Shape(None, {}, None)
    assert {part for part, _ in found(nothing)} == set(Part)
    assert set(nothing.fingerprint.split()) == {"0"}


@pytest.mark.parametrize(
    ("changed", "part", "text"),
    [
        ({"kind": "p"}, Part.TABLES, "app.mentor is partitioned"),
        ({"kind": "v"}, Part.TABLES, "app.mentor is not an ordinary table (v)"),
        ({"has_row_security": True}, Part.TABLES, "app.mentor has row-level security"),
        ({"columns": {"id": "uuid"}}, Part.TABLES, "organization_code is missing"),
        ({"identity": "f"}, Part.IDENTITIES, "app.mentor logs whole rows"),
        ({"identified_by": frozenset[str]()}, Part.IDENTITIES, "its index was dropped"),
        (
            {"identified_by": frozenset[str](), "identity": "n"},
            Part.IDENTITIES,
            "app.mentor is identified by nothing",
        ),
        ({"identified_by": frozenset({"id"})}, Part.IDENTITIES, "app.mentor is identified by id"),
        ({"oid": 77}, Part.VIEW, "does not read the app.mentor that is there now"),
    ],
)
def test_a_table_that_is_not_as_it_must_be_is_named(
    changed: dict[str, object], part: Part, text: str
) -> None:
    """One fault, for the one thing that is wrong."""
    ((seen, sentence),) = found(with_table("app.mentor", **changed))
    assert seen is part
    assert text in sentence


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"is_for_all": True}, "publishes all tables"),
        ({"is_whole": False}, "leaves operations out"),
        (
            {"tables": {**PUBLISHED_AS, "app.person": (frozenset({"id"}), "")}},
            "app.person is published, and should not be",
        ),
        (
            {"tables": {**PUBLISHED_AS, "app.mentor": (PUBLISHED["app.mentor"], "")}},
            "row filter is missing, should name 'HLF'",
        ),
        (
            {"tables": {**PUBLISHED_AS, "app.mentor": (frozenset({"id"}), FILTER)}},
            "app.mentor.organization_code is not published",
        ),
    ],
)
def test_a_publication_that_is_not_as_it_must_be_is_named(
    changed: dict[str, object], text: str
) -> None:
    seen = found(published(**changed))
    assert {part for part, _ in seen} == {Part.PUBLICATION}
    assert any(text in sentence for _, sentence in seen)


def test_a_publication_without_the_mentors_is_not_blamed_for_its_filter() -> None:
    tables = {name: entry for name, entry in PUBLISHED_AS.items() if name != "app.mentor"}
    assert found(published(tables=tables)) == [(Part.PUBLICATION, "app.mentor is not published")]


def test_an_organisation_with_a_quote_is_looked_for_as_sql_writes_it() -> None:
    assert "should name 'O''Neil'" in found(whole(), "O'Neil")[0][1]


def test_a_view_with_another_type_is_told_before_what_it_reads() -> None:
    shape = replace(whole(), view=View({**VIEW_COLUMNS, "status": "citext"}, frozenset()))
    assert found(shape) == [(Part.VIEW, "status is citext, should be text")]


@pytest.mark.parametrize("row_filter", ["", "(organization = 'XYZ'::text)"], ids=["none", "other"])
def test_reminders_of_another_organisation_only_are_a_fault(row_filter: str) -> None:
    """They would be written, never published, and never be written again."""
    name = "hlf_sync.cert_expiry_reminders"
    tables = {**PUBLISHED_AS, name: (PUBLISHED[name], row_filter)}
    ((part, text),) = found(published(tables=tables))
    assert part is Part.PUBLICATION
    assert f"{name}'s row filter" in text
