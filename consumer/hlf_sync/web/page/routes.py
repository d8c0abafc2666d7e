"""The page's routes: read without a script, asked with a form. Every answer is a whole page; the
script (static/page.js) asks for the same pages and takes over what differs.

Called by `app`; asks `pending` and `forcing`, as the API does.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import wraps
from uuid import UUID, uuid4

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from hlf_sync.clock import epoch_ms
from hlf_sync.errors import DependencyError
from hlf_sync.web.auth.caller import Caller, RefusedError, caller
from hlf_sync.web.models import Forced, RequestStatus
from hlf_sync.web.page.asking import ask
from hlf_sync.web.page.sheet import (
    LANGUAGE_COOKIE,
    STATIC,
    database_away,
    not_found,
    own_path,
    refusal,
    sheet,
    wants_part,
    words_of,
)
from hlf_sync.web.page.sheet import answer as part
from hlf_sync.web.page.views import Teller
from hlf_sync.web.page.words import LANGUAGES
from hlf_sync.web.pending import Pending

_ROWS = 50
_YEAR_S = 31_536_000
_LONGEST_ID = 60
# Somebody who is not signed in, or no longer: not worth an alert.
_EXPECTED = {"missing", "expired", "ended"}

Page = Callable[[Request, Caller], Awaitable[Response]]


def signed_in(page: Page) -> Callable[[Request], Awaitable[Response]]:
    """A page for coordinators: others are told to sign in, and an outage is told as a page."""

    @wraps(page)
    async def guarded(request: Request) -> Response:
        try:
            who = await caller(request)
        except RefusedError as error:
            if error.reason not in _EXPECTED:
                request.app.state.numbers.refused(error.reason)
            return refusal(request, error)
        try:
            return await page(request, who)
        except DependencyError:
            return database_away(request, who)

    return guarded


def teller(request: Request, who: Caller, now: datetime | None = None) -> Teller:
    """Who tells, in the reader's language."""
    at = now or datetime.fromtimestamp(epoch_ms() / 1000, UTC)
    return Teller(words_of(request), who.subject, at)


@signed_in
async def pending(request: Request, who: Caller) -> Response:
    """What is open, oldest first."""
    books: Pending = request.app.state.pending
    cursor = request.query_params.get("cursor")
    try:
        page = await books.page(cursor, _ROWS)
    except ValueError:
        return RedirectResponse("/", 303)
    forced = await _recent(request)
    tells = teller(request, who, page.as_of)
    rows = tells.rows(page.items, forced)
    counts = page.counts.model_dump()
    content = {
        "here": "pending",
        "banner": tells.banner(page),
        "total": sum(counts.values()),
        "counts": tells.counts(counts),
        "as_of": tells.moment(page.as_of).clock,
        "rows": rows,
        "keys": [str(uuid4()) for _row in rows],
        "is_later": cursor is not None,
        "next_cursor": page.next_cursor,
        "event_id": page.event_id,
        "now_ms": round(page.as_of.timestamp() * 1000),
    }
    return sheet(request, "pending.html", content, caller=who)


async def _recent(request: Request) -> list[Forced]:
    """The newest requests; a list without them is better than none."""
    try:
        books: Pending = request.app.state.pending
        return await books.forced(50)
    except DependencyError:
        return []


@signed_in
async def mentor(request: Request, who: Caller) -> Response:
    """One mentor, its last deliveries and requests."""
    mentor_id: UUID = request.path_params["mentor_id"]
    return await mentor_page(request, who, mentor_id)


async def mentor_page(
    request: Request,
    who: Caller,
    mentor_id: UUID,
    *,
    reason: str = "",
    problem: str = "",
    status: int = 200,
) -> Response:
    """A mentor's page, with what was wrong with a form."""
    books: Pending = request.app.state.pending
    item = await books.mentor(mentor_id)
    if item is None:
        text = words_of(request)("not-found-mentor")
        return not_found(request, who, {"text": text, "finding": str(mentor_id), "is_wrong": False})
    forced = await books.forced(20, mentor_id)
    tells = teller(request, who)
    asked = await _asked(request, mentor_id)
    content = {
        "row": tells.row(item, forced[0] if forced else None),
        "key": str(uuid4()),
        "deliveries": tells.deliveries(await books.deliveries(mentor_id), mentor_id),
        "requests": tells.requests(forced),
        "reason": reason,
        "problem": problem,
        "outcome": tells.outcome(asked) if asked else "",
        "now_ms": round(tells.now.timestamp() * 1000),
    }
    return sheet(request, "mentor.html", content, caller=who, status=status)


async def _asked(request: Request, mentor_id: UUID) -> RequestStatus | None:
    """The request that the reader has just made without a script."""
    digits = request.query_params.get("request", "")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:  # noqa: PLR2004
        return None
    books: Pending = request.app.state.pending
    found = await books.request(int(digits))
    return found if found and found.mentor_id == mentor_id else None


@signed_in
async def asked(request: Request, who: Caller) -> Response:
    """What became of a request: for the script."""
    found = await request.app.state.pending.request(request.path_params["request_id"])
    if found is None:
        return not_found(request, who, {"text": words_of(request)("not-found-page")})
    return part(found.state, teller(request, who).outcome(found))


@signed_in
async def sync(request: Request, who: Caller) -> Response:
    """'Sync now': the form, with or without the script."""
    mentor_id: UUID = request.path_params["mentor_id"]
    order = await ask(request, who, mentor_id)
    words = words_of(request)
    if order.request_id is None:
        text = words(order.problem)
        if wants_part(request):
            return part("problem", text, order.status)
        return await mentor_page(
            request, who, mentor_id, reason=order.reason, problem=text, status=order.status
        )
    if not wants_part(request):
        return RedirectResponse(f"/mentors/{mentor_id}?request={order.request_id}", 303)
    tells = teller(request, who)
    at = tells.moment(tells.now).clock
    taken = part("waiting", words("asked-waiting", at=at), 202)
    taken.headers["location"] = f"/asked/{order.request_id}"
    return taken


@signed_in
async def requests(request: Request, who: Caller) -> Response:
    """The audit: who asked for what, when, why."""
    forced = await request.app.state.pending.forced(100)
    tells = teller(request, who)
    content = {
        "here": "requests",
        "requests": tells.requests(forced),
        "now_ms": round(tells.now.timestamp() * 1000),
    }
    return sheet(request, "requests.html", content, caller=who)


@signed_in
async def find(request: Request, who: Caller) -> Response:
    """The search: a UUID in any spelling leads to its mentor."""
    wanted = request.query_params.get("mentor", "").strip()[:_LONGEST_ID]
    try:
        return RedirectResponse(f"/mentors/{UUID(wanted)}", 303)
    except ValueError:
        content = {"title": words_of(request)("find"), "text": ""}
        return not_found(request, who, {**content, "finding": wanted, "is_wrong": True})


async def language(request: Request) -> Response:
    """Another language, from now on in this browser."""
    chosen = request.path_params["language"]
    back = RedirectResponse(own_path(request.query_params.get("to", "/")), 303)
    if chosen in LANGUAGES:
        is_secure = request.url.scheme == "https"
        back.set_cookie(
            LANGUAGE_COOKIE,
            chosen,
            max_age=_YEAR_S,
            samesite="lax",
            httponly=True,
            secure=is_secure,
        )
    return back


routes: list[BaseRoute] = [
    Route("/", pending),
    Route("/find", find),
    Route("/requests", requests),
    Route("/language/{language}", language),
    Route("/asked/{request_id:int}", asked),
    Route("/mentors/{mentor_id:uuid}", mentor),
    Route("/mentors/{mentor_id:uuid}/sync", sync, methods=["POST"]),
    Mount("/static", StaticFiles(directory=STATIC)),
]
