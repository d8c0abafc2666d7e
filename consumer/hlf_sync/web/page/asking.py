"""What a coordinator says with 'Sync now', from the form to the books, and what is wrong with it in
a word of the catalogue. Used by `routes`.
"""

from dataclasses import dataclass
from urllib.parse import parse_qs
from uuid import UUID

from starlette.requests import Request

from hlf_sync.errors import DependencyError
from hlf_sync.web.auth.caller import Caller
from hlf_sync.web.problems import ProblemError

_LONGEST_REASON = 500
_PROBLEMS = {404: "sync-unknown", 429: "sync-too-many", 503: "sync-away"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOrder:
    """The request's id, or the problem; `reason` as it was written."""

    reason: str
    request_id: str | None = None
    problem: str = ""
    status: int = 202


async def ask(request: Request, who: Caller, mentor_id: UUID) -> PageOrder:
    """Read the form and put the request into the books."""
    form = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=4)
    reason, key = form.get("reason", [""])[0].strip(), form.get("key", [""])[0]
    if not reason:
        return PageOrder(reason=reason, problem="sync-reason-missing", status=422)
    if len(reason) > _LONGEST_REASON:
        return PageOrder(reason=reason[:_LONGEST_REASON], problem="sync-too-long", status=422)
    try:
        taken = await request.app.state.forcing.force(who, mentor_id, reason, key or None)
    except DependencyError:
        return PageOrder(reason=reason, problem="sync-away", status=503)
    except ProblemError as error:
        problem = _PROBLEMS.get(error.status, "sync-refused")
        return PageOrder(reason=reason, problem=problem, status=error.status)
    return PageOrder(reason=reason, request_id=taken.request_id)
