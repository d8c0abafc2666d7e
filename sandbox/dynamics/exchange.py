"""The life of one request: taken in, admitted, delayed, performed, answered, and each way in which that can go wrong.

Called by `connection` for the emulated hosts. Without fault or latency a request is served in one synchronous step; with
latency by a timer; with a scripted fault by a task of its own. The only place that reads the clocks.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from sandbox.dynamics.answers import HTML, PLAIN_JSON, Answer, html_page, render
from sandbox.dynamics.batch import BatchRun
from sandbox.dynamics.calls import Call, read_call, targets
from sandbox.dynamics.connection import Connection
from sandbox.dynamics.dataverse import Admission, Performed
from sandbox.dynamics.emulator import Emulator
from sandbox.dynamics.faults import Armed, Fault, Seen
from sandbox.dynamics.front import Front
from sandbox.dynamics.http1 import Request
from sandbox.dynamics.journal import Entry
from sandbox.dynamics.outage import Outage
from sandbox.dynamics.routing import Batch, UpdateMultiple

_DISCOVERY = "/v2.0/.well-known/openid-configuration"
_TOKEN = "/oauth2/v2.0/token"  # noqa: S105 - a path
_KEYS = "/discovery/v2.0/keys"
_GARBAGE = b"\x15\x03\x01\x00\x02\x02\x28HTTP/9.9 OK\x00\r\n\xff\xfe\r\n"


@dataclass(slots=True, eq=False)
class Exchange:
    """One request under way."""

    kind: str
    request: Request
    connection: Connection
    entry: Entry
    call: Call | None
    base: str
    admission: Admission | Answer | None = None
    left: bool = False
    """The client has its answer, or has gone."""
    settled: bool = False
    """What the request does is done, or will never be done."""


class Service:
    """Serves the requests of all connections out of one emulator."""

    def __init__(self, emulator: Emulator) -> None:
        """Keep the state; the event loop is found when it is needed."""
        self._emulator = emulator
        self._front = Front(emulator.dataverse)
        self._tasks: set[asyncio.Task[None]] = set()
        self.under_way: dict[int, Exchange] = {}
        """By sequence number: what does not end in the step in which it began."""

    def serve(self, request: Request, connection: Connection) -> None:
        """Take one request; it is ended here or later."""
        exchange = self._begin(request, connection)
        emulator = self._emulator
        outage = emulator.outage
        if outage is not None and outage.covers(exchange.kind):
            self._meet_outage(exchange, outage)
            return
        armed = self._struck(exchange) if emulator.script.armed else None
        if exchange.call is not None:
            self._admit(exchange, exchange.request)
        if armed is not None:
            self._wait_for(exchange)
            self._spawn(exchange, armed)
            return
        latency = emulator.latency["api" if exchange.kind == "api" else "token"]
        delay_s = 0.0 if isinstance(exchange.admission, Answer) else latency.draw(emulator.random)
        if delay_s <= 0:
            self._complete(exchange)
        else:
            self._wait_for(exchange)
            asyncio.get_running_loop().call_later(delay_s, self._complete, exchange)

    def in_flight(self) -> list[dict[str, Any]]:
        """Give what is under way, the oldest first."""
        return [
            exchange.entry.shown() | {"left": exchange.left, "settled": exchange.settled}
            for exchange in self.under_way.values()
        ]

    async def stop(self) -> None:
        """Give up what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- beginning

    def _begin(self, request: Request, connection: Connection) -> Exchange:
        headers = request.headers
        kind = _kind_of(request.path)
        call = read_call(request) if kind == "api" else None
        journal = self._emulator.journal
        contact_id = call.contact_id if call is not None else None
        entry = Entry(
            seq=journal.take_seq(),
            kind=kind,
            method=request.method,
            path=request.path,
            query=request.query,
            contact_id=contact_id,
            columns=call.columns if call is not None else None,
            started_ms=_epoch_ms(),
            started_mono_ms=_mono_ms(),
            connection=connection.number,
            has_authorization="authorization" in headers,
            has_cookie="cookie" in headers,
            header_names=list(headers),
            x_ms_client_request_id=headers.get("x-ms-client-request-id"),
            x_correlation_id=headers.get("x-correlation-id"),
            if_match=headers.get("if-match"),
            if_none_match=headers.get("if-none-match"),
            prefer=headers.get("prefer"),
            content_type=headers.get("content-type"),
            user_agent=headers.get("user-agent"),
        )
        entry.overlap, entry.unsettled = self._emulator.overlaps.begin(contact_id)
        journal.add(entry)
        return Exchange(kind, request, connection, entry, call, f"https://{headers.get('host', '').lower()}")

    def _struck(self, exchange: Exchange) -> Armed | None:
        target = exchange.kind
        if target not in {"api", "token", "discovery"}:
            return None
        seen = Seen(target, exchange.request.method, exchange.entry.contact_id)  # type: ignore[arg-type]
        return self._emulator.script.match(seen)

    def _admit(self, exchange: Exchange, request: Request) -> None:
        admission = self._emulator.dataverse.admit(
            request, exchange.base, now_s=time.monotonic(), epoch_s=time.time()
        )
        exchange.admission = admission
        if isinstance(admission, Admission):
            exchange.entry.app, exchange.entry.server = admission.app.client_id, admission.server

    def _wait_for(self, exchange: Exchange) -> None:
        """Note that the request takes its time: in the file too, so that a killed emulator leaves a trace of it."""
        self.under_way[exchange.entry.seq] = exchange
        exchange.connection.on_gone = lambda: self._client_gone(exchange)
        self._emulator.journal.write(exchange.entry)

    def _spawn(self, exchange: Exchange, armed: Armed) -> None:
        task = asyncio.get_running_loop().create_task(self._run_fault(exchange, armed))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- the ordinary way

    def _complete(self, exchange: Exchange) -> None:
        self._leave(exchange, self._perform(exchange), wire="answer")

    def _perform(self, exchange: Exchange) -> Answer:
        """Do what the request asks and note what it did."""
        if exchange.call is None:
            answer = self._token_service(exchange)
        elif isinstance(exchange.admission, Admission):
            answer = self._apply(exchange, exchange.call, exchange.admission)
            self._emulator.dataverse.release(exchange.admission, time.monotonic())
        else:
            assert exchange.admission is not None
            answer = exchange.admission
        self._settle(exchange)
        return answer

    def _apply(self, exchange: Exchange, call: Call, admission: Admission) -> Answer:
        dataverse, entry = self._emulator.dataverse, exchange.entry
        now_ms = _epoch_ms()
        if isinstance(call.found, Batch) and call.request.method == "POST":
            run = BatchRun(dataverse, admission, exchange.base, now_ms, self._strike_part).run(call.request)
            performed, entry.parts = Performed(run.answer, run.written), run.parts
        else:
            performed = dataverse.perform(call, admission, exchange.base, now_ms)
            if isinstance(call.found, UpdateMultiple):
                entry.parts = _rows(call, performed)
        if performed.written:
            entry.applied_ms, entry.applied_mono_ms = now_ms, _mono_ms()
            entry.version = performed.written[-1].contact.version
            entry.created = any(written.created for written in performed.written)
            dataverse.log.compact_when_large(dataverse.contacts)
        return performed.answer

    def _strike_part(self, call: Call) -> Answer | None:
        script = self._emulator.script
        armed = script.match(Seen("part", call.request.method, call.contact_id)) if script.armed else None
        return None if armed is None else armed.fault.answer()

    def _token_service(self, exchange: Exchange) -> Answer:
        request, sts = exchange.request, self._emulator.sts
        tenant = request.path[1:].partition("/")[0]
        match exchange.kind:
            case "discovery" if request.method == "GET":
                return sts.discovery(tenant, exchange.base)
            case "token" if request.method == "POST":
                return sts.token(tenant, request.body, exchange.base, time.time())
            case "keys" if request.method == "GET":
                return Answer(200, [PLAIN_JSON], b'{"keys":[]}')
            case "discovery" | "token" | "keys":
                return Answer(405, [HTML], html_page(405))
            case _:
                return Answer(404, [HTML], html_page(404))

    # ---- the faulty way

    async def _run_fault(self, exchange: Exchange, armed: Armed) -> None:
        fault, entry, emulator = armed.fault, exchange.entry, self._emulator
        entry.fault = armed.number
        if fault.hold is not None:
            await emulator.holds.wait(fault.hold, entry.seq, entry.contact_id, fault.release_after)
        latency = fault.delay or emulator.latency["api" if exchange.kind == "api" else "token"]
        await asyncio.sleep(latency.draw(emulator.random))
        own = self._perform(exchange) if fault.applies == "yes" else None
        answer = self._scripted_answer(fault, own)
        if fault.applies == "no":
            self._drop(exchange)
        if entry.applied_ms is not None and fault.wire in {"slow", "hang"}:
            emulator.journal.write(entry)
        await self._transmit(exchange, answer, fault)
        if fault.applies == "late":
            await asyncio.sleep(fault.late_s)
            self._perform(exchange)
            emulator.journal.write(entry)

    def _scripted_answer(self, fault: Fault, own: Answer | None) -> Answer:
        if fault.aadsts is not None:
            answer = self._emulator.sts.refuse(fault.aadsts)
            answer.status = fault.status or answer.status
        else:
            scripted = fault.answer()
            if scripted is not None:
                return scripted
            answer = own or Answer(504, [HTML], html_page(504))
        answer.headers += list(fault.headers.items())
        if fault.retry_after is not None:
            answer.headers.append(("Retry-After", str(fault.retry_after)))
        return answer

    async def _transmit(self, exchange: Exchange, answer: Answer, fault: Fault) -> None:
        connection, wire = exchange.connection, fault.wire
        if exchange.left:
            return
        match wire:
            case "answer" | "close_after" | "reset" | "close" | "half" | "garbage":
                self._leave(exchange, answer, wire=wire)
            case "slow":
                exchange.entry.outcome, exchange.entry.status = wire, answer.status
                await connection.trickle(self._rendered(exchange, answer, close=False), fault.pace_s)
                self._left(exchange)
            case "hang":
                exchange.entry.outcome = wire
                if fault.hang_s is not None:
                    await asyncio.sleep(fault.hang_s)
                    connection.abort()

    def _meet_outage(self, exchange: Exchange, outage: Outage) -> None:
        self._wait_for(exchange)
        self._drop(exchange)
        match outage.mode:
            case "reset" | "refuse":
                self._leave(exchange, Answer(0), wire="reset")
            case "hang":
                exchange.entry.outcome = "hang"
            case status:
                answer = Answer(int(status), [HTML], html_page(int(status)))
                if outage.retry_after is not None:
                    answer.headers.append(("Retry-After", str(outage.retry_after)))
                self._leave(exchange, answer, wire="answer")

    # ---- ending

    def _leave(self, exchange: Exchange, answer: Answer, *, wire: str) -> None:
        """Let the client go: with its answer, or in one of the ways that are none."""
        connection, entry = exchange.connection, exchange.entry
        if exchange.left:
            return
        whole = wire in {"answer", "close_after"}
        entry.outcome = "answered" if whole else wire
        if whole or wire == "half":
            entry.status, entry.error_code = answer.status, answer.code
            entry.retry_after = next((value for name, value in answer.headers if name == "Retry-After"), None)
        closes = not (exchange.request.keep_alive and self._emulator.dataverse.switches.keep_alive)
        connection.on_gone = None
        self._left(exchange)
        match wire:
            case "answer":
                connection.finish(self._rendered(exchange, answer, close=closes), close=closes)
            case "close_after":
                connection.finish(self._rendered(exchange, answer, close=False), close=True)
            case "half":
                content = self._rendered(exchange, answer, close=False)
                head = content.index(b"\r\n\r\n") + 4
                cut = head + len(answer.body) // 2 if len(content) > head else head // 2
                connection.finish(content[:cut], close=True)
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

    def _client_gone(self, exchange: Exchange) -> None:
        exchange.entry.client_gone_ms = _epoch_ms()
        if exchange.entry.outcome == "open":
            exchange.entry.outcome = "client_gone"
        self._left(exchange)

    def _left(self, exchange: Exchange) -> None:
        """Note that the client waits no more."""
        if exchange.left:
            return
        exchange.left = True
        entry, emulator = exchange.entry, self._emulator
        entry.ended_ms, entry.ended_mono_ms = _epoch_ms(), _mono_ms()
        emulator.overlaps.client_left(entry.contact_id)
        if exchange.settled:
            self.under_way.pop(entry.seq, None)
        else:
            emulator.overlaps.effect_remains(entry.contact_id)
        emulator.journal.write(entry)
        if entry.outcome == "answered":
            emulator.holds.answered(entry.contact_id, entry.seq)

    def _settle(self, exchange: Exchange) -> None:
        """Note that the request can have no effect any more beyond what it had."""
        exchange.settled = True
        if exchange.left:
            self._emulator.overlaps.settled(exchange.entry.contact_id)
            self.under_way.pop(exchange.entry.seq, None)
            if exchange.entry.outcome == "client_gone":
                self._emulator.journal.write(exchange.entry)

    def _drop(self, exchange: Exchange) -> None:
        """Never do what the request asks."""
        if isinstance(exchange.admission, Admission):
            self._emulator.dataverse.release(exchange.admission, time.monotonic())
        self._settle(exchange)


def _kind_of(path: str) -> str:
    if path.startswith("/api/"):
        return "api"
    if path.endswith(_TOKEN):
        return "token"
    if path.endswith(_DISCOVERY):
        return "discovery"
    return "keys" if path.endswith(_KEYS) else "other"


def _rows(call: Call, performed: Performed) -> list[dict[str, Any]]:
    rows = targets(call.payload)
    if isinstance(rows, Answer):
        return []
    return [
        {"contact_id": contact_id, "columns": {"new_showonwebsite": payload.get("new_showonwebsite")}}
        | {"applied": bool(performed.written)}
        for contact_id, payload in rows
    ]


def _epoch_ms() -> int:
    return time.time_ns() // 1_000_000


def _mono_ms() -> float:
    return time.monotonic_ns() // 1000 / 1000
