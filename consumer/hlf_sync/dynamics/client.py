"""The Dynamics client: one operation for one contact becomes one PATCH and a verdict (requirements
R20–R28).

Called by the pipeline (`call`), by `reconcile --verify` (`read_listing`, the whole listing in pages,
and `read_visibility`, one contact) and by `doctor` (`who_am_i`). It retries nothing but a first 401, paces nothing, logs nothing, and raises
for nothing that the network does. Every PATCH carries `If-Match: *`: without it Dataverse creates a
contact that it does not know.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Final
from uuid import uuid4

import httpx
from multidict import CIMultiDict

from hlf_sync import clock
from hlf_sync.core.answer import Answer, NoResponse, RefusedCredentials, Response, TransportFailure
from hlf_sync.core.model import ContactId, Operation, Visibility
from hlf_sync.core.verdict import Course, judge
from hlf_sync.dynamics.answers import answer_of, json_object
from hlf_sync.dynamics.auth.credentials import (
    AccessToken,
    CredentialProvider,
    TokenUnavailableError,
)
from hlf_sync.dynamics.contract import DynamicsContract
from hlf_sync.dynamics.http.exchange import MAX_BODY_BYTES, Exchange, exchange
from hlf_sync.dynamics.http.plain import PlainRequest
from hlf_sync.dynamics.listing import (
    MAX_PAGE_BYTES,
    PREFER,
    ListingPage,
    definition_address,
    first_address,
    is_ours,
    page_of,
    primary_id_of,
)
from hlf_sync.errors import AuthError, InvariantError
from hlf_sync.ports import CallResult


def _version() -> str:
    try:
        return version("hlf-sync")
    except PackageNotFoundError:  # run from a folder, not installed
        return "0"


_READ: Final = MappingProxyType(
    {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "OData-MaxVersion": "4.0",
        "OData-Version": "4.0",
        "User-Agent": f"hlf-sync/{_version()}",
    }
)
_READ_PAGE: Final = MappingProxyType({**_READ, "Prefer": PREFER})
_WRITE: Final = MappingProxyType({**_READ, "Content-Type": "application/json", "If-Match": "*"})

Confirms = Callable[[Mapping[str, object]], bool]


@dataclass(frozen=True, slots=True)
class VisibilityReading:
    """What Dynamics shows of one contact. `visibility` is None unless the verdict is DONE."""

    result: CallResult
    visibility: Visibility | None


@dataclass(frozen=True, slots=True)
class ListingReading:
    """One page of the listing. `page` is None unless the verdict is DONE."""

    result: CallResult
    page: ListingPage | None


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked, without what differs from attempt to attempt."""

    method: str
    address: str
    fields: Mapping[str, str]
    body: bytes
    confirms: Confirms
    max_bytes: int = MAX_BODY_BYTES


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One attempt: what came back, and under which correlation id."""

    answer: Answer
    status: int | None
    correlation_id: str
    body: bytes | None = None
    token: AccessToken | None = None


class DynamicsClient:
    """`DynamicsPort` over any httpx transport. `epoch_ms` is only asked for a Retry-After date in
    an answer without a date of its own.
    """

    def __init__(
        self,
        contract: DynamicsContract,
        credentials: CredentialProvider,
        transport: httpx.AsyncBaseTransport,
        *,
        request_timeout_s: float = 10.0,
        new_id: Callable[[], str] = lambda: str(uuid4()),
        monotonic: Callable[[], float] = time.monotonic,
        epoch_ms: Callable[[], int] = clock.epoch_ms,
    ) -> None:
        self._contract, self._credentials, self._transport = contract, credentials, transport
        self._request_timeout_s = request_timeout_s
        self._new_id, self._monotonic, self._epoch_ms = new_id, monotonic, epoch_ms
        self._primary_id = "contactid" if contract.entity_set == "contacts" else None
        self._bodies = {operation: contract.body(operation) for operation in Operation}

    async def call(self, contact_id: ContactId, operation: Operation) -> CallResult:
        """Ask for the operation: one attempt, and a second one only when the token was not
        accepted. Takes at most twice (time-out + 2 s).
        """

        def shows_it(body: Mapping[str, object]) -> bool:
            names = body.get("contactid", contact_id)
            is_this_one = isinstance(names, str) and names.lower() == contact_id
            written = body.get(self._contract.visibility_column)
            return (
                is_this_one
                and written is not None
                and self._contract.visibility_of(written) is operation.wanted
            )

        address = self._contract.contact_address(contact_id)
        result, _ = await self._ask(
            _Question("PATCH", address, _WRITE, self._bodies[operation], shows_it)
        )
        return result

    async def read_visibility(self, contact_id: ContactId) -> VisibilityReading:
        """Read the one column of one contact."""
        column = self._contract.visibility_column

        def holds_it(body: Mapping[str, object]) -> bool:
            return column in body and self._contract.visibility_of(body[column]) is not None

        address = f"{self._contract.contact_address(contact_id)}?$select={column}"
        result, body = await self._ask(_Question("GET", address, _READ, b"", holds_it))
        read = json_object(body) if result.verdict.course is Course.DONE else None
        return VisibilityReading(
            result, None if read is None else self._contract.visibility_of(read[column])
        )

    async def read_listing(self, address: str | None = None) -> ListingReading:
        """Read one page of the contacts that are shown: the first, or the one that a page before
        named. Raises `InvariantError` for an address that is not this server's listing.
        """
        contract, primary_id = self._contract, self._primary_id
        if primary_id is None:
            result, primary_id = await self._learn_primary_id()
            if primary_id is None:
                return ListingReading(result, None)
        if address is not None and not is_ours(address, contract):
            message = "the next page of the listing is elsewhere"
            raise InvariantError(message)
        found: list[ListingPage] = []

        def holds_rows(body: Mapping[str, object]) -> bool:
            page = page_of(body, contract, primary_id)
            found[:] = [] if page is None else [page]
            return page is not None

        where = address or first_address(contract, primary_id)
        question = _Question("GET", where, _READ_PAGE, b"", holds_rows, MAX_PAGE_BYTES)
        result, _ = await self._ask(question)
        return ListingReading(result, found[0] if result.verdict.course is Course.DONE else None)

    def is_next_page(self, address: str) -> bool:
        """Whether a page's next link may be followed."""
        return is_ours(address, self._contract)

    async def _learn_primary_id(self) -> tuple[CallResult, str | None]:
        """The name of the primary key, where the entity set is not `contacts`."""

        def names_it(body: Mapping[str, object]) -> bool:
            return primary_id_of(body, self._contract) is not None

        address = definition_address(self._contract)
        result, body = await self._ask(_Question("GET", address, _READ, b"", names_it))
        read = json_object(body) if result.verdict.course is Course.DONE else None
        self._primary_id = None if read is None else primary_id_of(read, self._contract)
        return result, self._primary_id

    async def who_am_i(self) -> CallResult:
        """Ask who we are: proves host, TLS, token and application user, and writes nothing."""
        result, _ = await self._ask(
            _Question(
                "GET", f"{self._contract.root}WhoAmI", _READ, b"", lambda body: "UserId" in body
            )
        )
        return result

    async def aclose(self) -> None:
        """Close connections and stop renewing tokens."""
        await self._credentials.aclose()
        await self._transport.aclose()

    async def _ask(self, question: _Question) -> tuple[CallResult, bytes | None]:
        started_s = self._monotonic()
        attempt = await self._attempt(question)
        status = attempt.status
        verdict = judge(attempt.answer)
        if verdict.course is Course.RENEW_TOKEN and attempt.token is not None:
            self._credentials.invalidate(attempt.token)
            attempt = await self._attempt(question)
            status = status if attempt.status is None else attempt.status
            verdict = judge(attempt.answer, has_renewed_token=True)
        duration_ms = round((self._monotonic() - started_s) * 1000)
        return CallResult(verdict, status, attempt.correlation_id, duration_ms), attempt.body

    async def _attempt(self, question: _Question) -> _Attempt:
        correlation_id = self._new_id()
        try:
            token = await self._credentials.token()
        except TokenUnavailableError as error:
            return _Attempt(
                NoResponse(TransportFailure.NO_TOKEN, error.retry_after_s), None, correlation_id
            )
        except AuthError as error:
            return _Attempt(RefusedCredentials(error.retry_after_s), None, correlation_id)
        fields = CIMultiDict(question.fields)
        fields["Authorization"] = token.authorization
        fields["x-correlation-id"] = fields["x-ms-client-request-id"] = correlation_id
        request = PlainRequest(question.method, question.address, fields, question.body)
        outcome = await exchange(
            self._transport,
            request,
            timeout_s=self._request_timeout_s,
            max_bytes=question.max_bytes,
        )
        if isinstance(outcome, TransportFailure):
            return _Attempt(NoResponse(outcome), None, correlation_id, token=token)
        return _Attempt(
            self._answer(outcome, question.confirms),
            outcome.status,
            correlation_id,
            outcome.body,
            token,
        )

    def _answer(self, outcome: Exchange, confirms: Confirms) -> Response:
        return answer_of(outcome, self._epoch_ms() / 1000, confirms)
