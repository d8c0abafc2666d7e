"""The Web API itself: who may come in, and what a call does to the contacts.

Called by `exchange`, in two steps, because time passes between them: `admit` on arrival
(authentication, application user, limits), `perform` when the service would have done its work.
Synchronous; decides nothing about faults or bytes.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from hlf_sync_sandbox.dynamics import codes, collection
from hlf_sync_sandbox.dynamics.answers import Answer, error, json_answer
from hlf_sync_sandbox.dynamics.calls import (
    Call,
    entity_tag,
    refuse_media_type,
    targets,
)
from hlf_sync_sandbox.dynamics.columns import VISIBILITY_COLUMN, Value, check, check_select
from hlf_sync_sandbox.dynamics.contact_log import ContactLog
from hlf_sync_sandbox.dynamics.contacts import (
    ById,
    ByKey,
    Contacts,
    Key,
    Precondition,
    Refusal,
    Written,
)
from hlf_sync_sandbox.dynamics.http1 import Request
from hlf_sync_sandbox.dynamics.identity import App, Identity
from hlf_sync_sandbox.dynamics.representation import row
from hlf_sync_sandbox.dynamics.routing import (
    AllContacts,
    Definitions,
    OneContact,
    UpdateMultiple,
    WhoAmI,
    api_version,
    parse_query,
    refuse_method,
)
from hlf_sync_sandbox.dynamics.servers import Servers
from hlf_sync_sandbox.dynamics.switches import Switches
from hlf_sync_sandbox.dynamics.throttle import Limits, Throttle
from hlf_sync_sandbox.dynamics.tokens import TokenFault, Tokens
from hlf_sync_sandbox.dynamics.writes import confirm, read_write

_PRIVILEGE_IDS = {
    "prvReadContact": "a66a9757-d3b0-4a3f-9d3a-5f1f9c2b0e11",
    "prvWriteContact": "d60cd83a-87b8-4a8e-bdee-5a9ce5d8d3f6",
    "prvCreateContact": "bb6a9f9a-20f1-4bb0-9b13-1c8ac2f04c12",
    "prvDeleteContact": "cb1cd9e5-2d3a-4e36-8d3b-0f2c66d3a7c7",
}


@dataclass(slots=True)
class Admission:
    """A call that was let in; it holds a place among the concurrent ones until it is released."""

    app: App
    server: int
    started_s: float


@dataclass(slots=True)
class Performed:
    """What a call did."""

    answer: Answer
    written: list[Written] = field(default_factory=list)


class Dataverse:
    """One organisation."""

    def __init__(self, identity: Identity, tokens: Tokens, log: ContactLog) -> None:
        """Start with the rows of the log, which keeps each change before it is answered."""
        self.identity = identity
        self.contacts = Contacts()
        self.throttle = Throttle(Limits())
        self.switches = Switches()
        self.servers = Servers(identity.organization_id, Random())  # noqa: S311 - which server answers
        self._tokens = tokens
        self.log = log
        self.contacts.load(log.load())

    def admit(
        self, request: Request, base: str, *, now_s: float, epoch_s: float
    ) -> Admission | Answer:
        """Let a call in, or answer 401, 403 or 429. Who is let in must be released."""
        token = self._tokens.judge(request.headers.get("authorization"), base, epoch_s)
        if isinstance(token, TokenFault):
            return self._unauthorized(token, base)
        app = self.identity.apps.get(token.client_id)
        if app is None or not app.app_user or not self.switches.app_user:
            return error(codes.NOT_A_MEMBER)
        server = self.servers.choose(request.headers.get("cookie"), self.switches.servers)
        refused = self.throttle.admit(app.client_id, server, now_s)
        if refused is None:
            return Admission(app, server, now_s)
        answer = error(refused.code, limit=refused.limit, window=refused.window_s)
        answer.headers.append(("Retry-After", refused.retry_after))
        return answer

    def release(self, admission: Admission, now_s: float) -> None:
        """Give the place among the concurrent calls back."""
        execution_s = now_s - admission.started_s
        self.throttle.release(admission.app.client_id, admission.server, now_s, execution_s)

    def perform(self, call: Call, admission: Admission, base: str, now_ms: int) -> Performed:
        """Do what the call asks. `$batch` is taken apart by `batch`, which comes here once per
        operation.
        """
        found = call.found
        refusal = found if isinstance(found, Answer) else refuse_method(call.request.method, found)
        if refusal is not None:
            return Performed(refusal)
        match found, call.request.method:
            case OneContact(key), "PATCH":
                performed = self._patch(call, key, admission, base, now_ms)
            case OneContact(key), "GET":
                performed = Performed(self._get(call, key, admission, base))
            case OneContact(key), _:
                performed = Performed(self._delete(key, admission))
            case AllContacts(), _:
                performed = Performed(self._list(call, admission, base))
            case Definitions(name), _:
                performed = Performed(_definition(call, name, base))
            case WhoAmI(), _:
                performed = Performed(self._who_am_i(admission, base))
            case UpdateMultiple(), _:
                performed = self._update_multiple(call, admission, now_ms)
            case _:  # a batch inside a batch
                performed = Performed(error(codes.NOT_PARSED))
        return performed

    def _who_am_i(self, admission: Admission, base: str) -> Answer:
        content = {
            "@odata.context": (
                f"{base}/api/data/v9.2/$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse"
            ),
            "BusinessUnitId": self.identity.business_unit_id,
            "UserId": admission.app.user_id,
            "OrganizationId": self.identity.organization_id,
        }
        return json_answer(200, content)

    def _patch(
        self, call: Call, key: Key, admission: Admission, base: str, now_ms: int
    ) -> Performed:
        write = read_write(call, key)
        if isinstance(write, Answer):
            return Performed(write)
        creates = not write.condition.must_exist and self.contacts.find(key) is None
        refusal = self._refuse_write(write.columns, admission, creates=creates)
        if refusal is not None:
            return Performed(refusal)
        result = self.contacts.write(key, write.columns, write.condition, now_ms)
        if isinstance(result, Refusal):
            return Performed(_refused(result, key))
        self.log.append([result.contact])
        return Performed(confirm(write, result, base), [result])

    def _refuse_write(
        self, columns: dict[str, Value], admission: Admission, *, creates: bool
    ) -> Answer | None:
        switches = self.switches
        if not switches.can_write:
            return _denied("prvWriteContact", admission)
        if creates and not switches.can_create:
            return _denied("prvCreateContact", admission)
        if switches.column_secured and VISIBILITY_COLUMN in columns:
            return error(codes.COLUMN_SECURED, column=VISIBILITY_COLUMN)
        return None

    def _get(self, call: Call, key: Key, admission: Admission, base: str) -> Answer:
        select = check_select(parse_query(call.request.query))
        if isinstance(select, Answer):
            return select
        if not self.switches.can_read:
            return _denied("prvReadContact", admission)
        contact = self.contacts.find(key)
        if contact is None:
            return _refused(Refusal.MISSING, key)
        if entity_tag(call.request.headers.get("if-none-match")) == str(contact.version):
            return Answer(304, [("ETag", contact.etag)])
        answer = json_answer(200, row(contact, base, select))
        answer.headers.append(("ETag", contact.etag))
        return answer

    def _list(self, call: Call, admission: Admission, base: str) -> Answer:
        if not self.switches.can_read:
            return _denied("prvReadContact", admission)
        request = call.request
        return collection.page(
            self.contacts,
            parse_query(request.query),
            request.headers.get("prefer", ""),
            base,
            api_version(request.path),
        )

    def _delete(self, key: Key, admission: Admission) -> Answer:
        """Refused like this to every application user of least privilege, which is the only kind
        there is here.
        """
        if not self.switches.can_delete:
            return _denied("prvDeleteContact", admission)
        contact = self.contacts.find(key)
        if contact is None:
            return _refused(Refusal.MISSING, key)
        self.contacts.remove(contact.contact_id)
        self.log.append_removed([contact.contact_id])
        return Answer(204)

    def _update_multiple(self, call: Call, admission: Admission, now_ms: int) -> Performed:
        """All or nothing: every row is judged before the first is written."""
        rows = refuse_media_type(call) or targets(call.payload)
        if isinstance(rows, Answer):
            return Performed(rows)
        writes: list[tuple[Key, dict[str, Value]]] = []
        for contact_id, payload in rows:
            columns = self._check_row(contact_id, payload, admission)
            if isinstance(columns, Answer):
                return Performed(columns)
            writes.append((ById(contact_id), columns))
        results = [
            self.contacts.write(key, columns, Precondition(must_exist=True), now_ms)
            for key, columns in writes
        ]
        written = [result for result in results if isinstance(result, Written)]
        self.log.append([result.contact for result in written])
        return Performed(Answer(204), written)

    def _check_row(
        self, contact_id: str, payload: dict[str, Any], admission: Admission
    ) -> Answer | dict[str, Value]:
        columns = check(payload, contact_id=contact_id)
        if isinstance(columns, Answer):
            return columns
        refusal = self._refuse_write(columns, admission, creates=False)
        if refusal is None and contact_id not in self.contacts.by_id:
            refusal = _refused(Refusal.MISSING, ById(contact_id))
        return columns if refusal is None else refusal

    def _unauthorized(self, fault: TokenFault, base: str) -> Answer:
        authority = f"{base}/{self.identity.tenant_id}/oauth2/authorize"
        challenge = (
            "WWW-Authenticate",
            f"Bearer authorization_uri={authority}, resource_id={base}/",
        )
        if self.switches.unauthorized_body == "empty":
            return Answer(
                401, [challenge], b"", f"{codes.TOKEN_EXPIRED.hex} ({fault.name.lower()})"
            )
        answer = error(codes.TOKEN_EXPIRED)
        answer.headers.append(challenge)
        return answer


def _definition(call: Call, name: str | None, base: str) -> Answer:
    query, version = parse_query(call.request.query), api_version(call.request.path)
    if name is None:
        return collection.definitions(query, base, version)
    if name != collection.CONTACT_DEFINITION["LogicalName"]:
        return error(codes.NOT_PARSED)
    return json_answer(
        200,
        {
            "@odata.context": f"{base}/api/data/{version}/$metadata#EntityDefinitions/$entity",
            **collection.definition(query),
        },
    )


def _denied(privilege: str, admission: Admission) -> Answer:
    privilege_id = _PRIVILEGE_IDS[privilege]
    return error(
        codes.PRIVILEGE_DENIED,
        user=admission.app.user_id,
        privilege=privilege,
        privilege_id=privilege_id,
    )


def _refused(refusal: Refusal, key: Key) -> Answer:
    match refusal, key:
        case Refusal.MISSING, ById(contact_id):
            return error(codes.OBJECT_DOES_NOT_EXIST, id=contact_id)
        case Refusal.MISSING, ByKey():
            return error(codes.KEY_DOES_NOT_EXIST)
        case Refusal.VERSION_DIFFERS, _:
            return error(codes.VERSION_MISMATCH)
        case _:
            return error(codes.DUPLICATE_RECORD)
