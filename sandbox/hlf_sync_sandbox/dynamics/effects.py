"""Lets a request in and does what it asks: of the Web API or of the token service.

Called by `service` when the time has come. Notes in the journal's entry what was applied and when.
"""

from typing import Any

from hlf_sync_sandbox.dynamics.answers import HTML, PLAIN_JSON, Answer, html_page
from hlf_sync_sandbox.dynamics.batch import BatchRun
from hlf_sync_sandbox.dynamics.calls import Call, targets
from hlf_sync_sandbox.dynamics.clock import epoch_ms, epoch_s, mono_ms, mono_s
from hlf_sync_sandbox.dynamics.columns import VISIBILITY_COLUMN
from hlf_sync_sandbox.dynamics.dataverse import Admission, Performed
from hlf_sync_sandbox.dynamics.emulator import Emulator
from hlf_sync_sandbox.dynamics.exchange import Book, Exchange
from hlf_sync_sandbox.dynamics.faults import Seen
from hlf_sync_sandbox.dynamics.routing import Batch, UpdateMultiple


class Effects:
    """What requests do."""

    def __init__(self, emulator: Emulator, book: Book) -> None:
        self._emulator = emulator
        self._book = book

    def admit(self, exchange: Exchange) -> None:
        """Judge a call of the Web API on its arrival; the others need no admission."""
        if exchange.call is None:
            return
        admission = self._emulator.dataverse.admit(
            exchange.request, exchange.base, now_s=mono_s(), epoch_s=epoch_s()
        )
        exchange.admission = admission
        if isinstance(admission, Admission):
            exchange.entry.app, exchange.entry.server = admission.app.client_id, admission.server

    def perform(self, exchange: Exchange) -> Answer:
        """Do what the request asks; give the answer that the service would."""
        if exchange.call is None:
            answer = self._token_service(exchange)
        elif isinstance(exchange.admission, Admission):
            answer = self._call(exchange, exchange.call, exchange.admission)
            self._emulator.dataverse.release(exchange.admission, mono_s())
        else:
            answer = exchange.admission or Answer(500)
        self._book.settle(exchange)
        return answer

    def drop(self, exchange: Exchange) -> None:
        """Never do what the request asks."""
        if isinstance(exchange.admission, Admission):
            self._emulator.dataverse.release(exchange.admission, mono_s())
        self._book.settle(exchange)

    def _call(self, exchange: Exchange, call: Call, admission: Admission) -> Answer:
        dataverse, entry, now_ms = self._emulator.dataverse, exchange.entry, epoch_ms()
        if isinstance(call.found, Batch) and call.request.method == "POST":
            run = BatchRun(dataverse, admission, exchange.base, now_ms, self._strike_part).run(
                call.request
            )
            performed, entry.parts = Performed(run.answer, run.written), run.parts
        else:
            performed = dataverse.perform(call, admission, exchange.base, now_ms)
            if isinstance(call.found, UpdateMultiple):
                entry.parts = _rows(call, performed)
        if performed.written:
            entry.applied_ms, entry.applied_mono_ms = now_ms, mono_ms()
            entry.version = performed.written[-1].contact.version
            entry.created = any(written.created for written in performed.written)
            dataverse.log.compact_when_large(dataverse.contacts)
        return performed.answer

    def _strike_part(self, call: Call) -> Answer | None:
        script = self._emulator.script
        armed = (
            script.match(Seen("part", call.request.method, call.contact_id))
            if script.armed
            else None
        )
        return None if armed is None else armed.fault.answer()

    def _token_service(self, exchange: Exchange) -> Answer:
        request, sts = exchange.request, self._emulator.sts
        tenant = request.path[1:].partition("/")[0]
        match exchange.kind, request.method:
            case "discovery", "GET":
                return sts.discovery(tenant, exchange.base, epoch_s())
            case "token", "POST":
                return sts.token(tenant, request.body, exchange.base, epoch_s())
            case "keys", "GET":
                return Answer(200, [PLAIN_JSON], b'{"keys":[]}')
            case "other", _:
                return Answer(404, [HTML], html_page(404))
            case _:
                return Answer(405, [HTML], html_page(405))


def _rows(call: Call, performed: Performed) -> list[dict[str, Any]]:
    rows = targets(call.payload)
    if isinstance(rows, Answer):
        return []
    applied = bool(performed.written)
    return [
        {
            "contact_id": contact_id,
            "columns": {VISIBILITY_COLUMN: _scalar(payload.get(VISIBILITY_COLUMN))},
            "applied": applied,
        }
        for contact_id, payload in rows
    ]


def _scalar(value: object) -> object:
    return None if isinstance(value, dict | list) else value
