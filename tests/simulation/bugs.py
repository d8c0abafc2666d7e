"""Mistakes put into the simulated world on purpose, each in one function or one statement: the
search has to find them, or its silence means nothing.

Those of the ledger's SQL are named in books.py; the others are put into the real code here, and
taken out again.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
from hlf_sync.core import outcome
from hlf_sync.core.evaluation import Evaluation
from hlf_sync.core.mentor_queue import MentorQueue
from hlf_sync.core.offsets import Offsets
from hlf_sync.core.verdict import Effect
from hlf_sync.core.visibility import Snapshot
from hlf_sync.dynamics.http import transport
from hlf_sync.dynamics.http.plain import PlainResponse
from hlf_sync.dynamics.http.transport import PooledTransport
from hlf_sync.pipeline.call import Call
from hlf_sync.pipeline.completion import Completion
from hlf_sync.pipeline.delivery import Delivery

Swap = tuple[Any, str, Any]


@contextmanager
def planted(bug: str | None) -> Iterator[None]:
    """With this bug in the code; without any for None, or for one of the books'."""
    swaps = CODE[bug]() if bug is not None and bug in CODE else []
    old = [(owner, name, vars(owner)[name]) for owner, name, _ in swaps]
    try:
        for owner, name, by in swaps:
            setattr(owner, name, by)
        yield
    finally:
        for owner, name, by in old:
            setattr(owner, name, by)


def _facts_not_re_read() -> list[Swap]:
    look = Delivery._look

    def blind(self: Delivery, one: Any, claimed: Any, reading: Any, began_ns: int) -> None:
        stale = replace(reading, mentors={one.mentor_id: one.known})
        look(self, one, claimed, stale, began_ns)

    return [(Delivery, "_look", blind)]


def _newer_change_swallowed() -> list[Swap]:
    finish = MentorQueue.finish

    def greedy(self: MentorQueue, entry: Evaluation, now_s: float) -> Any:
        entry.absorb(lambda _change: True)
        return finish(self, entry, now_s)

    return [(MentorQueue, "finish", greedy)]


def _lease_forgotten_in_the_call() -> list[Swap]:
    """A call starts however little is left of its lease, and is not ended with it."""
    ask = Call._ask

    async def patient(self: Call, held: Any, _left_s: float) -> Any:
        return await ask(self, held, 1e6)

    return [(Call, "_ask", patient), (Call, "fits", lambda *_: True)]


def _timed_out_connection_kept() -> list[Swap]:
    """The transport keeps the connection of a request that was given up: the answer that still
    comes is taken for the next one's.
    """

    async def kept(self: PooledTransport, request: httpx.Request) -> httpx.Response:
        origin, message = self._message(request)
        await self._take_slot()
        connection = None
        try:
            connection = self._idle_of(origin) or await self._connect(origin)
            head = await connection.ask(message)
        except BaseException:
            self._slots.release()
            if connection is not None:
                connection._reader = None
                connection.idle_since_s = asyncio.get_running_loop().time()
                origin.idle.append(connection)
            raise
        body = transport._Body(self, origin, connection)
        if not connection.is_complete:
            return PlainResponse(head.status, lambda: head.fields, body, request)
        body.release()
        return PlainResponse(head.status, lambda: head.fields, transport._NOTHING, request)

    return [(PooledTransport, "handle_async_request", kept)]


def _given_back_for_good() -> list[Swap]:
    """A claim that was lost ends its evaluation instead of another look."""

    def finish(self: Completion, evaluation: Evaluation, _after_s: float = 0.0) -> None:
        self._forget(evaluation, "no_call")

    return [(Completion, "requeue", finish)]


CODE: Mapping[str, Callable[[], list[Swap]]] = {
    "no_visibility_guard": lambda: [(Snapshot, "shows", lambda _self, _xid: True)],
    "commit_before_record": lambda: [
        (Offsets, "committable", property(lambda self: self.next_offset))
    ],
    "facts_not_re_read": _facts_not_re_read,
    "newer_change_swallowed": _newer_change_swallowed,
    "lost_answer_taken_for_over": lambda: [
        (
            outcome,
            "_ENDINGS",
            {**outcome._ENDINGS, Effect.MAY_COME_LATE: outcome.Ending.UNKNOWN},
        )
    ],
    "lease_forgotten_in_the_call": _lease_forgotten_in_the_call,
    "timed_out_connection_kept": _timed_out_connection_kept,
    "given_back_for_good": _given_back_for_good,
}
BOOKS = (
    "no_intent",
    "no_lease",
    "no_generation_check",
    "late_effect_not_asserted",
    "settled_in_doubt",
    "lost_without_generation",
    "asked_again",
    "operators_doubt_without_generation",
    "restore_unnoticed",
    "clock_step_unnoticed",
    "halt_not_rebased",
    "lapsed_by_a_wrong_clock",
    "contact_in_doubt_forgotten",
)
BUGS = (*CODE, *BOOKS)
FOUND = (
    "clock_step_unnoticed",
    "commit_before_record",
    "given_back_for_good",
    "lapsed_by_a_wrong_clock",
    "newer_change_swallowed",
    "no_lease",
    "no_visibility_guard",
    "restore_unnoticed",
)
"""Whom one history in ten or more finds, so that a change of the pipeline's timing, which makes every
seed another history, leaves them found. The others are for long searches (docs/delivery.md)."""
