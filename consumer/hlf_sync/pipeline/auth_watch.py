"""Looks after the credentials: asks for a token on a schedule (R62), and while refused ones halt
the fleet, notices their repair (R48).

An expired secret would otherwise be noticed by the next mentor's call, and while a token lives not
even by that: the first refusal halts, at once. No mentor's call is used for trying: asking for a
token shows whether the credentials are accepted. Where the token is fine and a privilege is
missing, the halt is lifted after the wait and the next call tells. A service of the worker.
"""

import asyncio
from typing import Protocol

from hlf_sync.core.model import HaltReason
from hlf_sync.pipeline.gate import Gate

_LOOK_S = 1.0
CHECK_S = 300.0


class SignIn(Protocol):
    """The credentials."""

    async def is_accepted(self, fresh_s: float) -> bool:
        """Whether a token could be had, now or less than `fresh_s` ago; cheap while they are known
        to be refused and have not changed.
        """
        ...

    async def refusal(self, fresh_s: float) -> str | None:
        """Why they are refused, likewise; None also where nobody answers: that says nothing of
        them.
        """
        ...


async def watch_credentials(
    gate: Gate, sign_in: SignIn, *, retry_s: float, check_s: float = CHECK_S
) -> None:
    """Halt at the first refusal, and lift the halt when there is reason to; for ever."""
    while True:
        await _check(gate, sign_in, check_s)
        await _lift(gate, sign_in, retry_s)


async def _check(gate: Gate, sign_in: SignIn, check_s: float) -> None:
    """Until calls are halted, by this or by anybody."""
    loop = asyncio.get_running_loop()
    checked_at_s = float("-inf")
    while not gate.is_halted(HaltReason.AUTH):
        if loop.time() - checked_at_s >= check_s:
            checked_at_s = loop.time()
            refusal = await sign_in.refusal(check_s)
            if refusal is not None:
                await gate.halt(HaltReason.AUTH, refusal)
                return
        await gate.changed(min(_LOOK_S, check_s))


async def _lift(gate: Gate, sign_in: SignIn, retry_s: float) -> None:
    """Until the halt is gone. A token that was given before it proves nothing."""
    loop = asyncio.get_running_loop()
    halted_at_s, was_refused = loop.time(), False
    while gate.is_halted(HaltReason.AUTH):
        halted_s = loop.time() - halted_at_s
        if await sign_in.is_accepted(halted_s):
            if was_refused or halted_s >= retry_s:
                await gate.lift(HaltReason.AUTH)
        else:
            was_refused = True
        await asyncio.sleep(_LOOK_S)
