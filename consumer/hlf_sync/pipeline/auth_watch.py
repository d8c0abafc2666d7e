"""Looks after the credentials: asks for a token on a schedule (R62), and while refused ones halt
the fleet, notices their repair (R48).

An expired secret would otherwise be noticed by the next mentor's call, and while a token lives not
even by that: the first refusal halts, at once. No mentor's call is used for trying: asking for a
token shows whether the credentials are accepted. Where Dynamics itself refuses us although the
token is fine, no token lifts the halt: one probing request that Dynamics accepts does (a mentor's
call, by delivery; where no mentor waits, the question who we are). A service of the worker.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from hlf_sync.core.model import HaltReason
from hlf_sync.pipeline.gate import Gate

_log = structlog.get_logger()

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
    gate: Gate,
    sign_in: SignIn,
    *,
    retry_s: float,
    check_s: float = CHECK_S,
    set_aside: Callable[[bool], None] = lambda _is_aside: None,
) -> None:
    """Halt at the first refusal, and lift the halt when there is reason to; for ever. `set_aside`
    lets the worker give its partitions away, and take part again.
    """
    while True:
        await _check(gate, sign_in, check_s)
        if await _lift(gate, sign_in, retry_s):
            await _stand_aside(gate, sign_in, set_aside, check_s)


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


async def _lift(gate: Gate, sign_in: SignIn, retry_s: float) -> bool:
    """Until the halt is gone; whether this worker's credentials alone are still refused. A token
    that was given before the halt proves nothing, and one after it all that there is to prove.
    """
    since_s, is_refused = gate.auth_since_s, False
    while gate.is_halted(HaltReason.AUTH):
        since_s = gate.auth_since_s  # it may have been lifted and come back: another halt
        if gate.auth_needs_probe:
            is_refused = False
            await _ask_who_we_are(gate, sign_in, retry_s)
        elif await sign_in.is_accepted(gate.database_now_s - (since_s or 0.0)):
            is_refused = False
            await gate.accepted()
            break
        else:
            is_refused = True
        await asyncio.sleep(_LOOK_S)
    return is_refused and gate.was_accepted_since(since_s or 0.0)


async def _stand_aside(
    gate: Gate, sign_in: SignIn, set_aside: Callable[[bool], None], check_s: float
) -> None:
    """Others' credentials are accepted, and this worker's are not: it gives its partitions to them,
    and halts nobody. Until its own are accepted, or the next check asks whether it is still alone.
    """
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    _log.error("credentials_refused_here")
    gate.is_aside = True
    set_aside(True)
    while loop.time() - began_s < check_s:
        await asyncio.sleep(_LOOK_S)
        if await sign_in.is_accepted(loop.time() - began_s):
            break
    gate.is_aside = False
    set_aside(False)
    _log.info("credentials_asked_again")
