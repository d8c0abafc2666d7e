"""The coordinators' web service: its settings, the role hlf_web, the issuer's keys. Asks with the
service's own connection; nothing is looked at where it is not set up.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from hlf_sync.config.settings import Settings
from hlf_sync.core import cause_words
from hlf_sync.core.numbers import json_of
from hlf_sync.core.plural import counted
from hlf_sync.doctor import database
from hlf_sync.doctor.examination import ASK_S, Examination
from hlf_sync.doctor.finding import Finding, fail, ok, skipped, some
from hlf_sync.http.asking import NoAnswerError, ask_once
from hlf_sync.postgres.statements import doctor as sql

REACH, ROLE, KEYS = "web", "web.role", "web.keys"

_VIEW = "hlf_sync.coordinator_view"
_SQL = "an administrator runs connectors/sql/01_roles.sql, `hlf-sync migrate` and 02_source.sql"


def examination(settings: Settings) -> Examination:
    """Of the settings' web service."""
    fix = "look at HLF_SYNC_WEB_POSTGRES_DSN and at the role hlf_web's password; the service waits"
    return Examination("PostgreSQL", (REACH, ROLE, KEYS), lambda: _look(settings), fix)


async def _look(settings: Settings) -> AsyncIterator[Finding]:
    if settings.web_postgres_dsn is None:
        yield skipped(REACH, "HLF_SYNC_WEB_POSTGRES_DSN is not set: no web service")
        return
    settings.require_web()
    async with database.connected(
        settings.secret("web_postgres_dsn"), "HLF_SYNC_WEB_POSTGRES_DSN"
    ) as connection:
        yield ok(REACH, "settings are whole; PostgreSQL lets the role in")
        yield await database.ask(connection, ROLE, _role)
    yield await _keys(settings)


async def _role(connection: database.Connection) -> Finding:
    cursor = await connection.execute(sql.READABLE)
    readable = [row["name"] for row in await cursor.fetchall()]
    row = await (await connection.execute(sql.MAY_ASK)).fetchone()
    assert row is not None  # noqa: S101 - a statement without FROM gives one row
    if more := [name for name in readable if name != _VIEW]:
        text = f"it may read or change more than {_VIEW}: {some(more)}"
        return fail(ROLE, text, "REVOKE it: the service needs that view and nothing else")
    if not row["has_view"] or not readable:
        return fail(ROLE, f"{_VIEW} is missing or may not be read", _SQL)
    if not row["may_ask"]:
        return fail(ROLE, "it may not insert into hlf_sync.sync_request", _SQL)
    if not row["is_held"]:
        return fail(ROLE, "the trigger only_as_coordinator is missing or off", "`hlf-sync migrate`")
    return ok(ROLE, f"reads {_VIEW}, asks as a coordinator, nothing else")


async def _keys(settings: Settings) -> Finding:
    source = settings.web_jwks_url
    if source is None:
        return ok(KEYS, "HS256 with a shared secret")
    fix = "look at HLF_SYNC_WEB_JWKS_URL; without keys the service answers 503"
    try:
        listed = json_of(await _read(source)).get("keys", [])
    except NoAnswerError as error:
        return fail(
            KEYS, f"the issuer's keys cannot be read ({cause_words.in_words(error.reason)})", fix
        )
    except (OSError, ValueError, AttributeError) as error:
        return fail(KEYS, f"the issuer's keys cannot be read ({cause_words.of(error)})", fix)
    found = [key for key in listed if isinstance(key, dict) and key.get("kty") != "oct"]
    if not found:
        return fail(KEYS, "the issuer publishes no public key", fix)
    return ok(KEYS, f"the issuer publishes {counted(len(found), 'public key')}")


async def _read(source: str) -> bytes:
    parts = urlsplit(source)
    if parts.scheme in {"http", "https"}:
        answer = await asyncio.to_thread(lambda: ask_once(source, timeout_s=ASK_S))
        if not answer.is_ok:
            raise NoAnswerError(f"status_{answer.status}", may_pass=True)
        return answer.body
    path = Path(parts.path if parts.scheme == "file" else source)
    return await asyncio.to_thread(path.read_bytes)
