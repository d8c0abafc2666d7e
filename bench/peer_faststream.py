"""A peer: FastStream with eight subscribers of one group, one PATCH per record, in order per
partition. Run by bench/peers.py in its own environment.

It has no ledger, no retry and no look at facts. Reads its orders as JSON from standard input, and
prints the seconds from its first call to its last.
"""

import asyncio
import json
import ssl
import sys
import time
from typing import Any

import aiohttp
from faststream.confluent import KafkaBroker, KafkaMessage

SUBSCRIBERS = 8


async def main() -> None:
    """Read the topic until so many records were handled."""
    orders = json.load(sys.stdin)
    context = ssl.create_default_context(cafile=orders["ca_file"])
    broker = KafkaBroker(orders["bootstrap_servers"], logger=None)
    times: list[float] = []
    is_done = asyncio.Event()

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=64, ssl=context)
    ) as session:

        async def handle(_body: Any, message: KafkaMessage) -> None:
            times.append(time.perf_counter())
            raw: Any = message.raw_message
            url = f"{orders['base']}/api/data/v9.2/contacts({raw.key().decode()})"
            async with session.patch(
                url, headers=orders["headers"], data=b'{"new_showonwebsite":false}'
            ) as response:
                await response.read()
            times.append(time.perf_counter())
            if len(times) >= 2 * orders["records"]:
                is_done.set()

        for _ in range(SUBSCRIBERS):
            subscriber = broker.subscriber(
                orders["topic"],
                group_id=orders["group"],
                auto_offset_reset="earliest",
                decoder=_bytes,
            )
            subscriber(handle)
        await broker.start()
        await is_done.wait()
        await broker.stop()
    print(max(times) - min(times))


async def _bytes(message: KafkaMessage) -> bytes:
    return bytes(message.body)


if __name__ == "__main__":
    asyncio.run(main())
