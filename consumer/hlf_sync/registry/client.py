"""The schema registry's client: Confluent's REST API, as Confluent, Apicurio (`/apis/ccompat/v7`)
and others speak it.

Asks once and says what came of it; waiting, repeating and patience are the pipeline's. Follows no
redirect, takes no proxy from the environment, reads no more than a schema can be long, and quotes
nothing of an answer. https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

import json
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from hlf_sync.errors import DeadLetterError, DependencyError, SettingsError
from hlf_sync.http.asking import Answer, AsyncAsker, AsyncTransport, Auth, Limits, NoAnswerError

_WHAT = "schema registry"
_TIMEOUT_S = 5.0
_LARGEST_ANSWER = 1 << 20
"""Bytes; a schema of the largest size that avro.py takes, escaped, is shorter."""

COMPATIBILITY = "FULL_TRANSITIVE"
"""The rule of a subject of ours: letters stay for weeks, so old programs meet new letters, and new programs old ones."""

_LARGEST_ID = 0x7FFF_FFFF
_SCHEMA_NOT_FOUND = 40403
_NOTHING_TO_COMPARE = frozenset({40401, 40402})
"""No such subject, no such version."""

_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_REFUSALS = frozenset({HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY})
_NO_ENTRY = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


@dataclass(frozen=True, slots=True)
class SchemaText:
    """The schema's JSON."""

    text: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """The registry has something under this id that no record of ours can be written with, and
    always will.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Denied:
    """The registry answers, and knows no such id: perhaps not yet."""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Nothing is known of the id: the registry does not answer, or not as a registry does, or does
    not let us in.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: Any

    @property
    def error_code(self) -> int | None:
        code = self.body.get("error_code") if isinstance(self.body, dict) else None
        return code if type(code) is int else None


class Registry:
    """One registry. `url` is its Confluent-compatible root; `auth` is user and password; `tls` for
    a CA or a client certificate of its own.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: Auth = None,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = _TIMEOUT_S,
        transport: AsyncTransport | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._asker = AsyncAsker(
            Limits(timeout_s=timeout_s, within_s=2 * timeout_s, max_bytes=_LARGEST_ANSWER),
            auth=auth,
            tls=tls,
            accept=f"{_CONTENT_TYPE}, application/json",
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._asker.aclose()

    async def fetch(self, schema_id: int) -> SchemaText | Unusable | Denied | Unreachable:
        """Ask for one schema, once. Never raises for what the network or the registry does."""
        try:
            answer = await self._ask("GET", f"/schemas/ids/{schema_id}")
        except DependencyError as error:
            return Unreachable(error.detail)
        if answer.status == HTTPStatus.NOT_FOUND and answer.error_code == _SCHEMA_NOT_FOUND:
            return Denied()
        if answer.status != HTTPStatus.OK:
            return Unreachable(_reason(answer))
        return _schema(answer.body)

    async def ping(self) -> None:
        """Raise `DependencyError` unless a registry answers and lets us in."""
        answer = await self._ask("GET", "/subjects")
        if answer.status != HTTPStatus.OK or not isinstance(answer.body, list):
            raise DependencyError(_WHAT, _reason(answer))

    async def register(self, subject: str, schema_json: str) -> int:
        """The id of this schema under `subject`, registered if it was not. Safe to repeat.

        Raises `DependencyError` while the registry cannot be reached, `DeadLetterError` when it
        refuses the schema: a newer version may only add what older readers can do without.
        """
        answer = await self._ask(
            "POST",
            f"/subjects/{quote(subject, safe='')}/versions",
            {"schema": schema_json, "schemaType": "AVRO"},
        )
        if answer.status in _REFUSALS:
            message = (
                f"the schema registry refuses the schema of {subject}"
                f" ({answer.error_code or answer.status})"
            )
            raise DeadLetterError(message)
        return _id_of(answer)

    async def find(self, subject: str, schema_json: str) -> int | None:
        """The id of exactly this schema under `subject`, None when it is not registered there.
        Raises `DependencyError` like `ping`.
        """
        answer = await self._ask(
            "POST",
            f"/subjects/{quote(subject, safe='')}",
            {"schema": schema_json, "schemaType": "AVRO"},
        )
        if answer.status == HTTPStatus.NOT_FOUND and answer.error_code in {
            *_NOTHING_TO_COMPARE,
            _SCHEMA_NOT_FOUND,
        }:
            return None
        return _id_of(answer)

    async def guard(self, subject: str) -> bool:
        """Set the subject's rule so that every version can read what every other one wrote, and ask
        whether it holds; False when it does not.

        Safe to repeat, and before the first version. Raises `DependencyError` like `ping`.
        """
        path = f"/config/{quote(subject, safe='')}"
        await self._ask("PUT", path, {"compatibility": COMPATIBILITY})
        answer = await self._ask("GET", path)
        if answer.status not in {HTTPStatus.OK, HTTPStatus.NOT_FOUND, *_NO_ENTRY}:
            raise DependencyError(_WHAT, _reason(answer))
        return (
            isinstance(answer.body, dict) and answer.body.get("compatibilityLevel") == COMPATIBILITY
        )

    async def is_compatible(self, subject: str, schema_json: str) -> bool:
        """Whether the subject's rule would take this schema after its latest version. Raises
        `DependencyError` like `ping`.
        """
        path = f"/compatibility/subjects/{quote(subject, safe='')}/versions/latest"
        answer = await self._ask("POST", path, {"schema": schema_json, "schemaType": "AVRO"})
        if answer.status == HTTPStatus.NOT_FOUND and answer.error_code in _NOTHING_TO_COMPARE:
            return True
        verdict = (
            answer.body.get("is_compatible")
            if answer.status == HTTPStatus.OK and isinstance(answer.body, dict)
            else None
        )
        if not isinstance(verdict, bool):
            raise DependencyError(_WHAT, _reason(answer))
        return verdict

    async def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> _Answer:
        """One request, bounded in time and size. Raises `DependencyError` when no JSON
        comes back.
        """
        content = None if body is None else json.dumps(body)
        try:
            answer = await self._asker.ask(method, self._url + path, content, _CONTENT_TYPE)
        except SettingsError as error:  # the file of its password is away, or cannot be read
            raise DependencyError(_WHAT, "secret_unreadable") from error
        except NoAnswerError as error:
            raise DependencyError(_WHAT, error.reason) from error
        return _Answer(answer.status, _json(answer))


def _json(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        raise DependencyError(_WHAT, f"no_json_{answer.status}") from None


def _reason(answer: _Answer) -> str:
    """A word for the log and the alert."""
    if answer.status in _NO_ENTRY:
        return "credentials_refused"
    return f"unexpected_answer_{answer.status}"


def _id_of(answer: _Answer) -> int:
    """The schema's id: four bytes of each record, so nothing else is one."""
    is_found = answer.status == HTTPStatus.OK and isinstance(answer.body, dict)
    schema_id = answer.body.get("id") if is_found else None
    if type(schema_id) is not int or not 0 <= schema_id <= _LARGEST_ID:
        raise DependencyError(_WHAT, _reason(answer))
    return schema_id


def _schema(body: Any) -> SchemaText | Unusable | Unreachable:
    match body:
        case {"schemaType": str() as kind} if kind != "AVRO":
            return Unusable("the schema is not Avro")
        case {"references": list() as references} if references:
            return Unusable("the schema refers to other schemas")
        case {"schema": str() as text}:
            return SchemaText(text)
        case _:
            return Unreachable("unexpected_answer_200")
