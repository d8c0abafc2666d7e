"""The limit that throughput is measured beside: PATCHes with aiohttp over TLS and nothing else. No
ledger, no retry, no order but per mentor.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import httpx
from hlf_sync.dynamics.http.trust import trust

IN_FLIGHT = 64
_DONE = 204


async def bare(env: dict[str, str], changes: Sequence[str]) -> float:
    """One call per change, in order per mentor, 64 at once; seconds for all of them."""
    base, ca_file = env["HLF_SYNC_DYNAMICS_BASE_URL"], Path(env["HLF_SYNC_DYNAMICS_CA_FILE"])
    headers = await headers_for(env)
    lanes: list[list[str]] = [[] for _ in range(IN_FLIGHT)]
    lane_of: dict[str, list[str]] = {}
    for change in changes:
        lane_of.setdefault(change, lanes[len(lane_of) % IN_FLIGHT]).append(change)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=IN_FLIGHT, ssl=trust(ca_file))
    ) as session:

        async def one(lane: list[str]) -> None:
            for mentor in lane:
                url = f"{base}/api/data/v9.2/contacts({mentor})"
                async with session.patch(
                    url, headers=headers, data=b'{"new_showonwebsite":false}'
                ) as response:
                    if response.status != _DONE:
                        raise SystemExit(f"the bare loop met a {response.status}")

        started = time.perf_counter()
        await asyncio.gather(*(one(lane) for lane in lanes))
        return time.perf_counter() - started


async def headers_for(env: dict[str, str]) -> dict[str, str]:
    """A PATCH's headers, with a fresh token."""
    base, ca_file = env["HLF_SYNC_DYNAMICS_BASE_URL"], Path(env["HLF_SYNC_DYNAMICS_CA_FILE"])
    return {
        "Authorization": f"Bearer {await _token(env, base, ca_file)}",
        "If-Match": "*",
        "Content-Type": "application/json",
    }


async def _token(env: dict[str, str], base: str, ca_file: Path) -> str:
    form = {
        "client_id": env["HLF_SYNC_DYNAMICS_CLIENT_ID"],
        "client_secret": env["HLF_SYNC_DYNAMICS_CLIENT_SECRET"],
        "grant_type": "client_credentials",
        "scope": f"{base}/.default",
    }
    async with httpx.AsyncClient(verify=trust(ca_file), trust_env=False) as client:
        answer = await client.post(
            f"{base}/{env['HLF_SYNC_DYNAMICS_TENANT_ID']}/oauth2/v2.0/token", data=form
        )
        return str(answer.json()["access_token"])
