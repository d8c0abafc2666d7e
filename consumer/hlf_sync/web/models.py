"""What the web service takes and gives: the models that validate, that docs/openapi.json is made
from, and that the page shows. No rule in here, and no database.
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

State = Literal["pending", "in_doubt", "dead_lettered", "held", "in_sync"]
Shown = Literal["visible", "hidden", "unknown"]

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Item(_Model):
    """One mentor whose listing is not, or not surely, what it should be."""

    mentor_id: UUID
    should_be: Literal["visible", "hidden"] | None = Field(
        description="what the listing should show; null where a person must decide first"
    )
    shown: Shown = Field(description="what the listing shows, as far as is known")
    since: datetime = Field(description="since when it is open, as far as is known")
    state: State
    error_code: str | None
    attempt_count: int
    next_try_at: datetime | None = Field(
        description="null: at once, or only when somebody acts (see message)"
    )
    triggered_by: str | None = Field(
        description="what caused it; null until a worker has looked at it"
    )
    cause: str = Field(description="why it waits, as one word; message says it in a sentence")
    message: str
    url: str | None = Field(description="the application's page of this mentor")


class MentorItem(Item):
    """One mentor, also when nothing is open."""

    last_delivered_at: datetime | None


class Counts(_Model):
    """How many are open, by state."""

    pending: int = 0
    in_doubt: int = 0
    dead_lettered: int = 0
    held: int = 0


class Head(_Model):
    """How it stands with all: verdict and counts; the data of the events `verdict` and `reset`."""

    as_of: datetime
    verdict: Literal["ok", "lagging", "stalled", "stopped", "halted"]
    verdict_reason: str
    verdict_message: str
    verdict_since: datetime | None = Field(
        default=None, description="since when, where the workers have told it"
    )
    counts: Counts


class PendingPage(Head):
    """A page of what is open, oldest first."""

    items: list[Item]
    next_cursor: str | None
    event_id: str = Field(
        description="give it to /api/v1/events as last_event_id: nothing in between is lost"
    )


class SyncOrder(_Model):
    """What a coordinator says with 'Sync now'."""

    reason: Reason = Field(description="why; kept with the request")


class SyncAccepted(_Model):
    """The request is in the books."""

    request_id: str


class RequestStatus(_Model):
    """What became of a request."""

    request_id: str
    mentor_id: UUID
    created_at: datetime
    requested_by: str
    state: Literal["waiting", "done", "failed"]
    outcome: str | None


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class PastCall(_Model):
    """One call of a mentor's history, for the mentor's page."""

    at: datetime
    operation: Literal["remove", "restore"]
    triggered_by: str
    reason: str | None
    attempt_number: int
    outcome: str
    error_code: str | None
    http_status: int | None


class Forced(_Model):
    """Who asked for what, when, why: the audit."""

    request_id: str
    mentor_id: UUID
    created_at: datetime
    requested_by: str | None
    reason: str | None
    is_by_operator: bool = False
