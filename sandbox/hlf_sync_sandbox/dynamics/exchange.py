"""One request under way, and the book of all that are.

Made and ended by `service`. Two things end, in either order: the client's wait (answered, cut off
or gone), and what the request can do to the contacts. Only when both have ended is the request
over.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from hlf_sync_sandbox.dynamics.answers import Answer
from hlf_sync_sandbox.dynamics.calls import Call, read_call
from hlf_sync_sandbox.dynamics.clock import epoch_ms, mono_ms
from hlf_sync_sandbox.dynamics.connection import Connection
from hlf_sync_sandbox.dynamics.dataverse import Admission
from hlf_sync_sandbox.dynamics.emulator import Emulator
from hlf_sync_sandbox.dynamics.http1 import Request
from hlf_sync_sandbox.dynamics.journal import Entry

_ENDINGS = {
    "/oauth2/v2.0/token": "token",
    "/v2.0/.well-known/openid-configuration": "discovery",
    "/discovery/v2.0/keys": "keys",
}

_NAMES: dict[tuple[str, ...], tuple[str, ...]] = {}
_MOST_NAMES = 1000


@dataclass(slots=True, eq=False)
class Exchange:
    """One request. `base` is `https://host:port`, where it believes to be."""

    kind: str
    request: Request
    connection: Connection
    entry: Entry
    call: Call | None
    base: str
    admission: Admission | Answer | None = None
    left: bool = False
    """The client waits no more."""
    settled: bool = False
    """What the request does is done, or will never be done."""


class Book:
    """All requests under way, with what the journal and the overlap counts say of them."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._under_way: dict[int, Exchange] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def __iter__(self) -> Iterator[Exchange]:
        return iter(list(self._under_way.values()))

    def begin(self, request: Request, connection: Connection) -> Exchange:
        """Take a request in: number it, journal it, count it."""
        headers = request.headers
        kind = kind_of(request.path)
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
            started_ms=epoch_ms(),
            started_mono_ms=mono_ms(),
            connection=connection.number,
            has_authorization="authorization" in headers,
            has_cookie="cookie" in headers,
            header_names=_shared_names(headers),
            x_ms_client_request_id=headers.get("x-ms-client-request-id"),
            x_correlation_id=headers.get("x-correlation-id"),
            if_match=_shared(headers.get("if-match")),
            if_none_match=_shared(headers.get("if-none-match")),
            prefer=_shared(headers.get("prefer")),
            content_type=_shared(headers.get("content-type")),
            user_agent=_shared(headers.get("user-agent")),
        )
        entry.overlap, entry.unsettled = self._emulator.overlaps.begin(contact_id)
        journal.add(entry)
        return Exchange(
            kind, request, connection, entry, call, f"https://{headers.get('host', '').lower()}"
        )

    def takes_time(self, exchange: Exchange) -> None:
        """Note that a request does not end in the step in which it began: in the file too, should
        we be killed.
        """
        self._under_way[exchange.entry.seq] = exchange
        exchange.connection.on_gone = lambda: self._client_gone(exchange)
        self._emulator.journal.write(exchange.entry)

    def leave(self, exchange: Exchange) -> None:
        """Note that the client waits no more; the journal's file has it before the client has its
        answer.
        """
        if exchange.left:
            return
        exchange.left = True
        exchange.connection.on_gone = None
        entry, emulator = exchange.entry, self._emulator
        entry.ended_ms, entry.ended_mono_ms = epoch_ms(), mono_ms()
        emulator.overlaps.client_left(entry.contact_id)
        if exchange.settled:
            self._under_way.pop(entry.seq, None)
        else:
            emulator.overlaps.effect_remains(entry.contact_id)
        emulator.journal.write(entry)
        if entry.outcome == "answered":
            emulator.holds.answered(entry.contact_id, entry.seq)

    def settle(self, exchange: Exchange) -> None:
        """Note that a request can do nothing beyond what it has done."""
        if exchange.settled:
            return
        exchange.settled = True
        if exchange.left:
            self._emulator.overlaps.settled(exchange.entry.contact_id)
            self._under_way.pop(exchange.entry.seq, None)
            self._emulator.journal.write(exchange.entry)

    def note_applied(self, exchange: Exchange) -> None:
        """Put a write into the file whose answer is still far away."""
        self._emulator.journal.write(exchange.entry)

    def _client_gone(self, exchange: Exchange) -> None:
        exchange.entry.client_gone_ms = epoch_ms()
        if exchange.entry.outcome == "open":
            exchange.entry.outcome = "client_gone"
        self.leave(exchange)


def _shared(text: str | None) -> str | None:
    """Keep one copy of a text that comes with nearly every request: the ring holds a hundred
    thousand of them.
    """
    return None if text is None else sys.intern(text)


def _shared_names(headers: dict[str, str]) -> tuple[str, ...]:
    names = tuple(headers)
    if len(_NAMES) >= _MOST_NAMES:
        _NAMES.clear()
    return _NAMES.setdefault(names, names)


def kind_of(path: str) -> str:
    """Say which part of the service a path belongs to."""
    if path.startswith("/api/"):
        return "api"
    return next((kind for ending, kind in _ENDINGS.items() if path.endswith(ending)), "other")
