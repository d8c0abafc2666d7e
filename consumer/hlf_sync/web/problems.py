"""Errors as `application/problem+json` (RFC 9457). A detail says what is wrong, and never quotes a
header, a body or a token.
"""

from collections.abc import Mapping
from http import HTTPStatus

import structlog
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from hlf_sync.errors import DependencyError
from hlf_sync.web.auth.token import RefusedError
from hlf_sync.web.models import Problem

_log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"


class ProblemError(Exception):
    """What a caller did wrong."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return Response(body.model_dump_json(), status, dict(headers or {}), MEDIA_TYPE)


def invalid(error: ValidationError) -> ProblemError:
    """A body that does not validate: which field and why, without its value."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    names = [str(step)[:40] for step in first["loc"] if str(step).isidentifier()]
    # An unknown field's name is the caller's text.
    where = "" if first["type"] == "extra_forbidden" else ".".join(names)
    return ProblemError(422, f"{where}: {first['msg']}" if where else str(first["msg"]))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)  # noqa: S101 - Starlette's signature
    request.app.state.numbers.refused(error.reason)
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "2"}}
    return problem(error.status, error.detail, headers.get(error.status))


async def _wrong(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101
    return problem(error.status, error.detail, error.headers)


async def _away(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DependencyError)  # noqa: S101
    return problem(
        503, f"{error.dependency} does not answer: try again in a moment", {"Retry-After": "2"}
    )


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    details = {
        404: "there is no such address",
        405: "the address does not take this method",
        413: "the body is too long",
    }
    detail = details.get(error.status_code, "the request cannot be read")
    return problem(error.status_code, detail, error.headers)


async def _gone(_request: Request, _error: Exception) -> Response:
    return problem(400, "the connection ended before the body did")


async def _bug(_request: Request, error: Exception) -> Response:
    _log.error("web_bug", error_code=type(error).__name__)
    return problem(500, "an error of ours; it is in the log")


HANDLERS = {
    RefusedError: _refused,
    ProblemError: _wrong,
    DependencyError: _away,
    ClientDisconnect: _gone,
    HTTPException: _http,
    Exception: _bug,
}
