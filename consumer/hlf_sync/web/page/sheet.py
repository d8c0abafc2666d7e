"""A page's paper: templates with their common values, the language of the request, refusals and
outages as pages. Used by `routes`; knows nothing of mentors.
"""

from collections.abc import Mapping
from functools import cache
from hashlib import blake2s
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from hlf_sync.web.auth.caller import Caller, RefusedError
from hlf_sync.web.page.words import LANGUAGES, Words, choose

LANGUAGE_COOKIE = "hlf_sync_language"
STATIC = Path(str(files(__package__) / "static"))
# The script asks for a page, or for the answer to a form alone.
PART_HEADER = "x-page-part"

_PASSING = {503: "keys"}


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("hlf_sync.web.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = _static
    environment.globals["languages"] = LANGUAGES
    return environment


@cache
def _static(name: str) -> str:
    """A file's address, which changes with its content."""
    return f"/static/{name}?{blake2s((STATIC / name).read_bytes(), digest_size=6).hexdigest()}"


def words_of(request: Request) -> Words:
    """The words of the one who asks."""
    language = choose(
        request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", "")
    )
    return Words(language, ZoneInfo(request.app.state.settings.time_zone))


def path_of(request: Request) -> str:
    """Where the request went, as a path of ours."""
    query = f"?{request.url.query}" if request.url.query else ""
    return request.url.path + query if request.method == "GET" else "/"


def own_path(path: str) -> str:
    """The path, if it is one of ours: nobody is sent elsewhere by a link of ours."""
    parts = urlsplit(path)
    is_own = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if is_own and not parts.scheme and not parts.netloc and path.isprintable() else "/"


def wants_part(request: Request) -> bool:
    """Whether the page's script asks."""
    return PART_HEADER in request.headers


def sheet(
    request: Request,
    template: str,
    content: Mapping[str, object],
    *,
    caller: Caller | None = None,
    status: int = 200,
) -> HTMLResponse:
    """A whole page."""
    common: dict[str, object] = {
        "words": words_of(request),
        "organization": request.app.state.settings.organization,
        "path": path_of(request),
        "is_signed_in": caller is not None,
        "here": "",
        "expires_ms": round(caller.expires_s * 1000) if caller else 0,
    }
    text = _templates().get_template(template).render({**common, **content})
    return HTMLResponse(text, status)


def answer(state: str, text: str, status: int = 200) -> HTMLResponse:
    """What the script puts beside a form."""
    tone = "outcome" if status < 400 else "problem"  # noqa: PLR2004
    page = _templates().get_template("answer.html").render(tone=tone, state=state, text=text)
    return HTMLResponse(page, status)


def refusal(request: Request, error: RefusedError) -> HTMLResponse:
    """Nobody is signed in, or not one of ours."""
    words = words_of(request)
    if error.status == 401:  # noqa: PLR2004
        # POST /session sends a person back with the reason.
        reason = request.query_params.get("refused", error.reason)
        return sheet(request, "sign_in.html", {"problem": _problem(words, reason)}, status=401)
    kind = "keys" if error.status in _PASSING else "not-ours"
    text = words("keys-away" if kind == "keys" else "not-ours")
    content = {"title": words(f"{kind}-title"), "text": text, "is_passing": kind == "keys"}
    return sheet(request, "trouble.html", content, status=error.status)


def _problem(words: Words, reason: str) -> str:
    if reason == "missing":
        return ""
    if reason == "organization":
        return words("not-ours")
    return words("sign-in-expired" if reason in {"expired", "ended"} else "sign-in-refused")


def database_away(request: Request, caller: Caller | None) -> HTMLResponse:
    """PostgreSQL does not answer."""
    words = words_of(request)
    content = {"title": words("database-title"), "text": words("database-away"), "is_passing": True}
    return sheet(request, "trouble.html", content, caller=caller, status=503)


def not_found(request: Request, caller: Caller, content: Mapping[str, object]) -> HTMLResponse:
    """No such mentor, or no UUID."""
    words = words_of(request)
    common = {"title": words("not-found-title"), "is_passing": False}
    return sheet(request, "trouble.html", {**common, **content}, caller=caller, status=404)
