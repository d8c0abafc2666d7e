"""The OpenAPI document, made from the models that validate: served at /openapi.json, kept as
docs/openapi.json (`python -m hlf_sync.web.openapi > docs/openapi.json`; a test compares the two).
"""

import sys
from functools import cache
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from hlf_sync.web.models import (
    Head,
    Item,
    MentorItem,
    PendingPage,
    Problem,
    RequestStatus,
    SyncAccepted,
    SyncOrder,
)

_MODELS: tuple[type[BaseModel], ...] = (
    Head, Item, MentorItem, PendingPage, Problem, RequestStatus, SyncAccepted, SyncOrder,
)  # fmt: skip
_REFS = "#/components/schemas/{model}"

Parameter = dict[str, Any]


def _query(name: str, meaning: str, schema: dict[str, Any]) -> Parameter:
    return {"name": name, "in": "query", "description": meaning, "schema": schema}


def _header(name: str, meaning: str, schema: dict[str, Any]) -> Parameter:
    return {"name": name, "in": "header", "description": meaning, "schema": schema}


_UUID: Parameter = {
    "name": "id", "in": "path", "required": True, "description": "the mentor's id",
    "schema": {"type": "string", "format": "uuid"},
}  # fmt: skip
_REQUEST: Parameter = {
    "name": "id", "in": "path", "required": True, "description": "the request's id",
    "schema": {"type": "string"},
}  # fmt: skip
_RETRY = {"Retry-After": {"description": "seconds", "schema": {"type": "string"}}}


def _content(model: type[BaseModel], media_type: str = "application/json") -> dict[str, Any]:
    reference = {"$ref": _REFS.format(model=model.__name__)}
    return {"content": {media_type: {"schema": reference}}}


def _problems(*statuses: int) -> dict[str, Any]:
    found = {}
    for status in statuses:
        answer = {
            "description": HTTPStatus(status).phrase,
            **_content(Problem, "application/problem+json"),
        }
        if status in {429, 503}:
            answer["headers"] = _RETRY
        found[str(status)] = answer
    return found


_WHO = (401, 403, 503)


def _operation(
    name: str,
    summary: str,
    good: dict[str, Any],
    *problems: int,
    parameters: tuple[Parameter, ...] = (),
    body: type[BaseModel] | None = None,
) -> dict[str, Any]:
    found: dict[str, Any] = {"operationId": name, "summary": summary}
    if parameters:
        found["parameters"] = list(parameters)
    if body is not None:
        found["requestBody"] = {"required": True, **_content(body)}
    found["responses"] = {**good, **_problems(*_WHO, *problems)}
    return found


def _ok(model: type[BaseModel], meaning: str) -> dict[str, Any]:
    return {"200": {"description": meaning, **_content(model)}}


def _paths() -> dict[str, Any]:
    pending = _operation(
        "listPending", "What is open, oldest first", _ok(PendingPage, "a page"), 422,
        parameters=(
            _query("cursor", "next_cursor of the page before", {"type": "string"}),
            _query("limit", "items on a page", {
                "type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
        ),
    )  # fmt: skip
    mentor = _operation(
        "showMentor", "One mentor, open or not", _ok(MentorItem, "the mentor"), 404, 422,
        parameters=(_UUID,),
    )  # fmt: skip
    accepted = {"202": {
        "description": "the request is in the books", **_content(SyncAccepted),
        "headers": {"Location": {"description": "the request", "schema": {"type": "string"}}},
    }}  # fmt: skip
    sync = _operation(
        "forceSync", "Sync now: look at one mentor, and deliver what is due", accepted,
        400, 404, 413, 415, 422, 429,
        parameters=(_UUID, _header("Idempotency-Key", "the same key: the same answer", {
            "type": "string", "minLength": 1, "maxLength": 255})),
        body=SyncOrder,
    )  # fmt: skip
    asked = _operation(
        "showRequest", "What became of a request", _ok(RequestStatus, "the request"), 404,
        parameters=(_REQUEST,),
    )  # fmt: skip
    stream = {"200": {
        "description": (
            "server-sent events: `reset` (Head; forget all, everything follows), `pending` (Item),"
            " `resolved` ({mentor_id}), `verdict` (Head); each with an id"
        ),
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }}  # fmt: skip
    events = _operation(
        "streamEvents", "What changes, as it happens", stream, 429,
        parameters=(
            _header("Last-Event-ID", "go on after this one", {"type": "string"}),
            _query("last_event_id", "the same, for a first connection", {"type": "string"}),
        ),
    )  # fmt: skip
    return {
        "/api/v1/pending": {"get": pending},
        "/api/v1/mentors/{id}": {"get": mentor},
        "/api/v1/mentors/{id}/sync": {"post": sync},
        "/api/v1/requests/{id}": {"get": asked},
        "/api/v1/events": {"get": events},
    }


@cache
def document() -> dict[str, Any]:
    """The whole document."""
    inputs = {SyncOrder}
    _, schemas = models_json_schema(
        [(model, "validation" if model in inputs else "serialization") for model in _MODELS],
        ref_template=_REFS,
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hlf-sync: visibility updates that are open",
            "version": "1",
            "description": "For coordinators and the application's screens; docs/coordinators.md.",
        },
        "paths": _paths(),
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "hlf_sync_session"},
            },
        },
        "security": [{"bearer": []}, {"cookie": []}],
    }


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(document(), option=orjson.OPT_INDENT_2) + b"\n")
