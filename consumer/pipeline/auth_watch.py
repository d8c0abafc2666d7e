"""While refused credentials halt the fleet: try again slowly, notice a repaired secret quickly, and lift the halt (requirement R48).

No mentor's call is used for trying: asking for a token shows whether the credentials are accepted. Where the token is fine and a privilege is
missing, the halt is lifted after the wait and the next call tells.
"""

import asyncio
from typing import Protocol

from consumer.core.model import HaltReason
from consumer.pipeline.gate import Gate

_LOOK_S = 1.0


class SignIn(Protocol):
    """The credentials."""

    async def is_accepted(self) -> bool:
        """Whether a token can be had now; cheap while they are known to be refused and have not changed."""
        ...


async def watch_credentials(gate: Gate, sign_in: SignIn, *, retry_s: float) -> None:
    """Lift the auth halt when there is reason to, for ever."""
    loop = asyncio.get_running_loop()
    while True:
        while not gate.is_halted(HaltReason.AUTH):
            await gate.changed(_LOOK_S)
        halted_at_s, was_refused = loop.time(), False
        while gate.is_halted(HaltReason.AUTH):
            if await sign_in.is_accepted():
                if was_refused or loop.time() - halted_at_s >= retry_s:
                    await gate.lift(HaltReason.AUTH)
            else:
                was_refused = True
            await asyncio.sleep(_LOOK_S)
