"""Faults scripted per request: which request one hits, and what it does to it. Pure matching, no
clock.

Called by `exchange` for each request; filled by `steering`. A script is an ordered list; for each
request the first fault that matches and is not used up strikes. A list of one-shot faults therefore
reads as "one per request".
"""

from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hlf_sync_sandbox.dynamics.answers import HTML, JSON, Answer, Body, Header, html_page, shaped
from hlf_sync_sandbox.dynamics.codes import CATALOGUE, Code
from hlf_sync_sandbox.dynamics.latency import Latency

Target = Literal["api", "token", "discovery", "part", "any"]
Wire = Literal["answer", "close_after", "reset", "close", "half", "slow", "hang", "garbage"]

_FRONT_END = frozenset({502, 503, 504})
"""What the front end answers when the service behind it is away: HTML, no code (reference, E9)."""


class Fault(BaseModel):
    """One fault. The first block says which requests, the second what happens. Durations in
    seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: Target = "api"
    method: str | None = None
    contact: str | None = None
    nth: int | None = Field(None, ge=1)
    """Only the n-th request that matches, counted since the fault was armed."""
    every: int | None = Field(None, ge=1)
    probability: float | None = Field(None, ge=0, le=1)
    seed: int = 0
    times: int | None = Field(1, ge=1)
    """How often it strikes; None = until cleared."""

    hold: str | None = None
    """Wait for `release(NAME)` before anything else is done."""
    release_after: int | None = Field(None, ge=1)
    """Release the hold by itself once so many later requests for the same contact have been answered."""
    delay: Latency | None = None
    """Instead of the general latency."""
    apply: Literal["yes", "no", "late"] | None = None
    """Whether the write happens. Default: yes without a status or with a 2xx, else no."""
    late_s: float = Field(1.0, ge=0, le=3600)
    """With `apply="late"`: so long after the answer (or the closing) the write happens."""
    status: int | None = Field(None, ge=100, le=999)
    code: str | None = None
    """A code of the catalogue, or any other; brings its own status and message."""
    message: str | None = None
    body: Body | None = None
    raw: str | None = None
    """The body as it stands, instead of a shaped one."""
    aadsts: int | None = None
    """For the token endpoint: the error of that number."""
    headers: dict[str, str] = Field(default_factory=dict)
    retry_after: str | int | float | None = None
    wire: Wire = "answer"
    pace_s: float = Field(0.5, gt=0, le=60)
    """With `wire="slow"`: pause between bytes."""
    hang_s: float | None = Field(None, gt=0, le=3600)
    """With `wire="hang"`: close after so long; None = never."""

    @field_validator("contact")
    @classmethod
    def _lower(cls, value: str | None) -> str | None:
        return None if value is None else value.lower()

    @field_validator("headers")
    @classmethod
    def _one_line_each(cls, value: dict[str, str]) -> dict[str, str]:
        if any(
            character in text for pair in value.items() for text in pair for character in "\r\n\x00"
        ):
            msg = "a header may not hold a line break"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _known_shape(self) -> Self:
        if self.release_after is not None and self.hold is None:
            msg = "release_after needs hold"
            raise ValueError(msg)
        return self

    @property
    def counts(self) -> bool:
        """True when its place among the matching requests decides."""
        return self.nth is not None or self.every is not None

    @property
    def applies(self) -> Literal["yes", "no", "late"]:
        """Whether the write happens, the default filled in."""
        if self.apply is not None:
            return self.apply
        return (
            "yes"
            if self.final_status is None or self.final_status < HTTPStatus.MULTIPLE_CHOICES
            else "no"
        )

    @property
    def final_status(self) -> int | None:
        """The status to answer, or None to answer what the service itself would."""
        if self.status is not None:
            return self.status
        return (
            CATALOGUE[self.code.lower()].status
            if self.code is not None and self.code.lower() in CATALOGUE
            else None
        )

    @property
    def extra_headers(self) -> list[Header]:
        """Headers that go on top, whoever made the answer."""
        again: list[Header] = (
            [] if self.retry_after is None else [("Retry-After", str(self.retry_after))]
        )
        return [*self.headers.items(), *again]

    def answer(self) -> Answer | None:
        """Build the scripted answer; None when the fault leaves the service's own."""
        status = self.final_status
        if status is None and self.code is None and self.raw is None:
            return None
        code = self._code(status or 500)
        headers, body = self._body(code)
        return Answer(code.status, [*headers, *self.extra_headers], body, self.code)

    def _code(self, status: int) -> Code:
        known = CATALOGUE.get((self.code or "").lower())
        message = self.message or (known.example if known is not None else "An error was scripted.")
        return Code(self.code or "", status, message)

    def _body(self, code: Code) -> tuple[list[Header], bytes]:
        if self.raw is not None:
            return ([JSON] if self.raw[:1] in {"{", "["} else []), self.raw.encode(
                "utf-8", "surrogatepass"
            )
        if self.body is not None:
            return shaped(self.body, _with_digits(code))
        if code.status < HTTPStatus.BAD_REQUEST:
            return [], b""
        if self.code is None and code.status in _FRONT_END:
            return [HTML], html_page(code.status)
        return shaped(Body.HEX, code)


def _with_digits(code: Code) -> Code:
    """Decimal and upper-case shapes need a number: without a code of its own a fault has
    UnExpected's.
    """
    try:
        int(code.hex, 16)
    except ValueError:
        return Code("0x80040216", code.status, code.message)
    return code


@dataclass(frozen=True, slots=True)
class Seen:
    """What a fault may look at."""

    target: Target
    method: str
    contact: str | None


@dataclass(slots=True)
class Armed:
    """A fault in the script, with what it has counted so far."""

    number: int
    fault: Fault
    random: Random
    seen: int = 0
    struck: int = 0

    @property
    def used_up(self) -> bool:
        """True once it has struck as often as it may."""
        return self.fault.times is not None and self.struck >= self.fault.times

    def strikes(self, seen: Seen) -> bool:
        """Count the request if it matches, and say whether it is the one."""
        fault = self.fault
        if self.used_up or not _matches(fault, seen):
            return False
        self.seen += 1
        if fault.nth is not None and self.seen != fault.nth:
            return False
        if fault.every is not None and self.seen % fault.every:
            return False
        return fault.probability is None or self.random.random() < fault.probability

    def shown(self) -> dict[str, Any]:
        """Give what operators see of it."""
        return {
            "number": self.number,
            "seen": self.seen,
            "struck": self.struck,
            "used_up": self.used_up,
            "fault": self.fault.model_dump(mode="json", exclude_defaults=True),
        }


@dataclass(slots=True)
class Script:
    """All armed faults, in order."""

    armed: list[Armed] = field(default_factory=list)
    _next_number: int = 1

    def add(self, faults: list[Fault]) -> list[int]:
        """Arm faults behind those that are there; give their numbers."""
        numbers = []
        for fault in faults:
            self.armed.append(Armed(self._next_number, fault, Random(fault.seed)))  # noqa: S311 - a scripted chance
            numbers.append(self._next_number)
            self._next_number += 1
        return numbers

    def clear(self, number: int | None = None) -> None:
        """Disarm one fault, or all."""
        self.armed = (
            [] if number is None else [armed for armed in self.armed if armed.number != number]
        )

    def match(self, seen: Seen) -> Armed | None:
        """Give the first fault that strikes this request. Each that matches counts it, so `nth`
        means what it says.
        """
        chosen: Armed | None = None
        for armed in self.armed:
            if chosen is None and armed.strikes(seen):
                chosen = armed
                armed.struck += 1
            elif chosen is not None and armed.fault.counts and _matches(armed.fault, seen):
                armed.seen += 1
        return chosen


def _matches(fault: Fault, seen: Seen) -> bool:
    return (
        (fault.target in {seen.target, "any"})
        and (fault.method is None or fault.method == seen.method)
        and (fault.contact is None or fault.contact == seen.contact)
    )
