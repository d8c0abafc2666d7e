"""The life of one request: taken in, admitted, delayed, performed, answered, and each way in which
that can go wrong.

Called by `connection` for the emulated hosts. Without fault or latency a request is served in one
synchronous step; with latency by a timer; with a scripted fault by a task of its own.
"""

import asyncio
import logging
from typing import Any

from hlf_sync_sandbox.dynamics.answers import HTML, Answer, Header, html_page, render
from hlf_sync_sandbox.dynamics.clock import epoch_s
from hlf_sync_sandbox.dynamics.connection import Connection
from hlf_sync_sandbox.dynamics.dataverse import Admission
from hlf_sync_sandbox.dynamics.effects import Effects
from hlf_sync_sandbox.dynamics.emulator import Emulator
from hlf_sync_sandbox.dynamics.exchange import Book, Exchange
from hlf_sync_sandbox.dynamics.faults import Armed, Fault, Seen, Target
from hlf_sync_sandbox.dynamics.front import Front
from hlf_sync_sandbox.dynamics.http1 import Request
from hlf_sync_sandbox.dynamics.latency import Latency
from hlf_sync_sandbox.dynamics.outage import Outage

_log = logging.getLogger(__name__)

_GARBAGE = b"\x15\x03\x01\x00\x02\x02\x28HTTP/9.9 OK\x00\r\n\xff\xfe\r\n"
_TARGETS: dict[str, Target] = {"api": "api", "token": "token", "discovery": "discovery"}
_WHOLE = frozenset({"answer", "close_after"})


class Service:
    """Serves the requests of all connections out of one emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._front = Front(emulator.dataverse)
        self._book = Book(emulator)
        self._effects = Effects(emulator, self._book)
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, request: Request, connection: Connection) -> None:
        """Take one request; it is ended here or later."""
        exchange = self._book.begin(request, connection)
        outage = self._emulator.outage
        if outage is not None and outage.covers(exchange.kind):
            self._meet_outage(exchange, outage)
            return
        armed = self._struck(exchange) if self._emulator.script.armed else None
        self._effects.admit(exchange)
        if armed is not None:
            self._book.takes_time(exchange)
            self._spawn(exchange, armed)
            return
        refused = isinstance(exchange.admission, Answer)
        delay_s = 0.0 if refused else self._latency(exchange).draw(self._emulator.random)
        if delay_s <= 0:
            self._complete(exchange)
        else:
            self._book.takes_time(exchange)
            asyncio.get_running_loop().call_later(delay_s, self._complete, exchange)

    def in_flight(self) -> list[dict[str, Any]]:
        """What is under way, the oldest first."""
        return [
            exchange.entry.shown() | {"left": exchange.left, "settled": exchange.settled}
            for exchange in self._book
        ]

    def count_in_flight(self) -> int:
        """How many that are."""
        return len(self._book)

    async def stop(self) -> None:
        """Give up what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- the ordinary way

    def _complete(self, exchange: Exchange) -> None:
        self._leave(exchange, self._effects.perform(exchange), wire="answer")

    def _latency(self, exchange: Exchange) -> Latency:
        return self._emulator.latency["api" if exchange.kind == "api" else "token"]

    # ---- the faulty way

    def _struck(self, exchange: Exchange) -> Armed | None:
        target = _TARGETS.get(exchange.kind)
        if target is None:
            return None
        return self._emulator.script.match(
            Seen(target, exchange.request.method, exchange.entry.contact_id)
        )

    def _spawn(self, exchange: Exchange, armed: Armed) -> None:
        task = asyncio.get_running_loop().create_task(self._run_safely(exchange, armed))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_safely(self, exchange: Exchange, armed: Armed) -> None:
        """Whatever a fault does to us, the process lives on and only its connection ends."""
        try:
            await self._run_fault(exchange, armed)
        except Exception:  # noqa: BLE001 - the outermost place of a faulty request
            _log.exception("a fault could not be carried out")
            exchange.connection.abort()

    async def _run_fault(self, exchange: Exchange, armed: Armed) -> None:
        fault, entry = armed.fault, exchange.entry
        entry.fault = armed.number
        if fault.hold is not None:
            await self._emulator.holds.wait(
                fault.hold, entry.seq, entry.contact_id, fault.release_after
            )
        await asyncio.sleep((fault.delay or self._latency(exchange)).draw(self._emulator.random))
        own = self._effects.perform(exchange) if fault.applies == "yes" else None
        if fault.applies == "no":
            self._effects.drop(exchange)
        if fault.wire in {"slow", "hang"} and not exchange.left:
            self._book.note_applied(exchange)
        await self._transmit(exchange, self._scripted_answer(fault, own), fault)
        if fault.applies == "late":
            await asyncio.sleep(fault.late_s)
            self._effects.perform(exchange)

    def _scripted_answer(self, fault: Fault, own: Answer | None) -> Answer:
        if fault.aadsts is not None:
            answer = self._emulator.sts.refuse(fault.aadsts, epoch_s())
            answer.status = fault.status or answer.status
        else:
            scripted = fault.answer()
            if scripted is not None:
                return scripted
            answer = own or Answer(504, [HTML], html_page(504))
        answer.headers += fault.extra_headers
        return answer

    async def _transmit(self, exchange: Exchange, answer: Answer, fault: Fault) -> None:
        if exchange.left:
            return
        match fault.wire:
            case "slow":
                exchange.entry.outcome, exchange.entry.status = fault.wire, answer.status
                await exchange.connection.trickle(
                    self._rendered(exchange, answer, close=False), fault.pace_s
                )
                self._book.leave(exchange)
                exchange.connection.finish(b"", close=False)
            case "hang":
                exchange.entry.outcome = fault.wire
                if fault.hang_s is not None:
                    await asyncio.sleep(fault.hang_s)
                    exchange.connection.abort()
            case wire:
                self._leave(exchange, answer, wire=wire)

    def _meet_outage(self, exchange: Exchange, outage: Outage) -> None:
        self._book.takes_time(exchange)
        self._effects.drop(exchange)
        match outage.mode:
            case "reset" | "refuse":
                self._leave(exchange, Answer(0), wire="reset")
            case "hang":
                exchange.entry.outcome = "hang"
            case status:
                again: list[Header] = (
                    [] if outage.retry_after is None else [("Retry-After", str(outage.retry_after))]
                )
                answer = Answer(int(status), [HTML, *again], html_page(int(status)))
                self._leave(exchange, answer, wire="answer")

    # ---- ending

    def _leave(self, exchange: Exchange, answer: Answer, *, wire: str) -> None:
        """Let the client go: with its answer, or in one of the ways that are none."""
        if exchange.left:
            return
        connection, entry = exchange.connection, exchange.entry
        entry.outcome = "answered" if wire in _WHOLE else wire
        if wire in _WHOLE or wire == "half":
            entry.status, entry.error_code = answer.status, answer.code
            entry.retry_after = next(
                (value for name, value in answer.headers if name == "Retry-After"), None
            )
        self._book.leave(exchange)
        closes = not (exchange.request.keep_alive and self._emulator.dataverse.switches.keep_alive)
        match wire:
            case "answer":
                connection.finish(self._rendered(exchange, answer, close=closes), close=closes)
            case "close_after":
                connection.finish(self._rendered(exchange, answer, close=False), close=True)
            case "half":
                connection.finish(
                    _half(self._rendered(exchange, answer, close=False), len(answer.body)),
                    close=True,
                )
            case "garbage":
                connection.finish(_GARBAGE, close=True)
            case "close":
                connection.close()
            case _:
                connection.reset()

    def _rendered(self, exchange: Exchange, answer: Answer, *, close: bool) -> bytes:
        if exchange.call is None:
            return render(answer, self._front.token_headers(), close=close)
        admission = exchange.admission if isinstance(exchange.admission, Admission) else None
        return render(answer, self._front.api_headers(exchange.request, admission), close=close)


def _half(content: bytes, body_bytes: int) -> bytes:
    """Cut in the middle of the body, or of the head when there is no body."""
    head = content.index(b"\r\n\r\n") + 4
    return content[: head + body_bytes // 2 if len(content) > head else head // 2]
