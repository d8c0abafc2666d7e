"""The calls of `/api/v1`: who calls, what is asked, and the answer. No rule stands here."""

import asyncio
from uuid import UUID

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hlf_sync.clock import epoch_ms
from hlf_sync.web.auth.caller import caller
from hlf_sync.web.events import MOST, MOST_OF_ONE, Stream, begin_of
from hlf_sync.web.forcing import NO_MENTOR
from hlf_sync.web.models import SyncOrder
from hlf_sync.web.openapi import document
from hlf_sync.web.problems import ProblemError, invalid

DEFAULT_LIMIT = 100
MOST_ITEMS = 1_000
_MOST_DIGITS = 18


async def list_pending(request: Request) -> Response:
    """`GET /api/v1/pending`."""
    await caller(request)
    limit = _limit(request.query_params.get("limit"))
    try:
        page = await request.app.state.pending.page(request.query_params.get("cursor"), limit)
    except ValueError:
        raise ProblemError(422, "cursor: not one of ours; begin without it") from None
    return _json(page)


async def show_mentor(request: Request) -> Response:
    """`GET /api/v1/mentors/{id}`."""
    await caller(request)
    found = await request.app.state.pending.mentor(_mentor(request))
    if found is None:
        raise ProblemError(404, NO_MENTOR)
    return _json(found)


async def force_sync(request: Request) -> Response:
    """`POST /api/v1/mentors/{id}/sync`."""
    who = await caller(request)
    mentor_id = _mentor(request)
    order = await _order(request)
    keys = request.headers.getlist("idempotency-key")
    if len(keys) > 1:
        raise ProblemError(400, "Idempotency-Key: one at most")
    accepted = await request.app.state.forcing.force(
        who, mentor_id, order.reason, keys[0] if keys else None
    )
    return _json(accepted, 202, {"Location": f"/api/v1/requests/{accepted.request_id}"})


async def show_request(request: Request) -> Response:
    """`GET /api/v1/requests/{id}`."""
    await caller(request)
    text = request.path_params["id"]
    is_number = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    found = await request.app.state.pending.request(int(text)) if is_number else None
    if found is None:
        raise ProblemError(404, "there is no such request; those of 30 days ago are forgotten")
    return _json(found)


async def stream_events(request: Request) -> Stream:
    """`GET /api/v1/events`."""
    who = await caller(request)
    state = request.app.state
    if state.numbers.open_streams(who.subject) >= MOST_OF_ONE:
        raise ProblemError(429, "too many open pages of yours: close some", {"Retry-After": "5"})
    if state.numbers.open_streams() >= MOST:
        raise ProblemError(503, "too many open pages: try again in a moment", {"Retry-After": "5"})
    return Stream(
        state.board, state.numbers, who, begin_of(request, state.board), epoch_ms() / 1000
    )


async def describe(_request: Request) -> Response:
    """`GET /openapi.json`."""
    return Response(orjson.dumps(document(), option=orjson.OPT_INDENT_2), 200, None, _MEDIA_TYPE)


async def healthz(_request: Request) -> Response:
    """`GET /healthz`: this process turns; that PostgreSQL is away it says to its callers."""
    await asyncio.sleep(0)
    return Response("ok\n", media_type="text/plain")


async def metrics(request: Request) -> Response:
    """`GET /metrics`."""
    state = request.app.state
    state.numbers.saw(is_away=state.board.is_away, counts=state.board.counts().model_dump())
    return Response(state.numbers.page(), media_type="text/plain; version=0.0.4")


_MEDIA_TYPE = "application/json"


def _json(model: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(model.model_dump_json(), status, headers, _MEDIA_TYPE)


def _mentor(request: Request) -> UUID:
    text = request.path_params["id"]
    try:
        found = UUID(text)
    except ValueError:
        raise ProblemError(422, "the mentor's id is not a UUID") from None
    if str(found) != text.lower():  # braces, urn:uuid: and the like
        raise ProblemError(422, "the mentor's id is not a UUID")
    return found


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MOST_ITEMS):  # noqa: PLR2004
        raise ProblemError(422, f"limit: a number from 1 to {MOST_ITEMS}")
    return int(text)


async def _order(request: Request) -> SyncOrder:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _MEDIA_TYPE:
        raise ProblemError(415, "the body must be application/json")
    try:
        order = SyncOrder.model_validate_json(await request.body())
    except ValidationError as error:
        raise invalid(error) from None
    if "\0" in order.reason:
        raise ProblemError(422, "reason: PostgreSQL keeps no NUL")
    return order


routes: list[BaseRoute] = [
    Route("/api/v1/pending", list_pending, methods=["GET"]),
    Route("/api/v1/mentors/{id}", show_mentor, methods=["GET"]),
    Route("/api/v1/mentors/{id}/sync", force_sync, methods=["POST"]),
    Route("/api/v1/requests/{id}", show_request, methods=["GET"]),
    Route("/api/v1/events", stream_events, methods=["GET"]),
    Route("/openapi.json", describe, methods=["GET"]),
    Route("/healthz", healthz, methods=["GET"]),
    Route("/metrics", metrics, methods=["GET"]),
]
