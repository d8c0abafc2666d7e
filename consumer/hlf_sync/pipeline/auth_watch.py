"""Looks after the credentials: asks for a token on a schedule (R62), and while refused ones halt
the fleet, notices their repair (R48).

An expired secret would otherwise be noticed by the next mentor's call, and while a token lives not
even by that: the first refusal halts, at once. No mentor's call is used for trying: asking for a
token shows whether the credentials are accepted. Where Dynamics itself refuses us although the
token is fine, no token lifts the halt: one probing request that Dynamics accepts does (a mentor's
call, by delivery; where no mentor waits, the question who we are). A service of the worker.
"""

import asyncio
from typing import Protocol

from hlf_sync.core.model import HaltReason
from hlf_sync.pipeline.gate import Gate

_LOOK_S = 1.0
_WHO = "who are we"
CHECK_S = 300.0


class SignIn(Protocol):
    """The credentials."""

    async def is_accepted(self, fresh_s: float) -> bool:
        """Whether a token could be had, now or less than `fresh_s` ago; cheap while they are known
        to be refused and have not changed.
        """
        ...

    async def is_welcome(self) -> bool:
        """Whether Dynamics accepts a question that writes nothing."""
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


async def _ask_who_we_are(gate: Gate, sign_in: SignIn, retry_s: float) -> None:
    """No mentor's call has been made for a while, so none waits."""
    if (
        gate.needs_proof()
        and gate.proof_in_s(is_suspect=True) == 0.0
        and gate.proof_overdue_s > retry_s
        and await gate.take_proof(_WHO, None)
        and await sign_in.is_welcome()
    ):
        await gate.proved()


async def _lift(gate: Gate, sign_in: SignIn, retry_s: float) -> None:
    """Until the halt is gone. A token that was given before it proves nothing."""
    since_s, was_refused = None, False
    while gate.is_halted(HaltReason.AUTH):
        if gate.auth_since_s != since_s:  # it was lifted and has come back: another halt
            since_s, was_refused = gate.auth_since_s, False
        halted_s = gate.database_now_s - (since_s or 0.0)
        if gate.auth_needs_probe:
            await _ask_who_we_are(gate, sign_in, retry_s)
        elif await sign_in.is_accepted(halted_s):
            if was_refused or halted_s >= retry_s:
                await gate.lift(HaltReason.AUTH)
        else:
            was_refused = True
        await asyncio.sleep(_LOOK_S)
