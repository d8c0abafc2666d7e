"""The control API: what tests, the demo and the command line can ask of a running emulator and do
to it.

Plain HTTP on a loopback port of its own, JSON in and out, guarded by a random token in
dynamics.json. One table of addresses; each does one thing to the `Emulator`. The client is
`control.DynamicsControl`.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError

from hlf_sync_sandbox.dynamics.answers import PLAIN_JSON, Answer, render
from hlf_sync_sandbox.dynamics.clock import epoch_ms, epoch_s
from hlf_sync_sandbox.dynamics.columns import VISIBILITY_COLUMN
from hlf_sync_sandbox.dynamics.connection import Connection
from hlf_sync_sandbox.dynamics.contacts import ById, Precondition, Written
from hlf_sync_sandbox.dynamics.emulator import Emulator
from hlf_sync_sandbox.dynamics.faults import Fault
from hlf_sync_sandbox.dynamics.http1 import Request
from hlf_sync_sandbox.dynamics.identity import App
from hlf_sync_sandbox.dynamics.orders import (
    AppOrder,
    LatencyOrder,
    Refused,
    read_contact_id,
    read_visibility,
)
from hlf_sync_sandbox.dynamics.outage import Outage
from hlf_sync_sandbox.dynamics.routing import parse_query
from hlf_sync_sandbox.dynamics.service import Service
from hlf_sync_sandbox.dynamics.sts import TokenSettings
from hlf_sync_sandbox.dynamics.switches import Switches

TOKEN_HEADER = "x-control-token"  # noqa: S105 - a header's name
_MOST_ENTRIES = 100_000


@dataclass(slots=True)
class Levers:
    """What only the server can do: open and close the port, and stop an outage later."""

    set_outage: Callable[[Outage | None], None]
    publish: Callable[[], None]


class Steering:
    """Answers the control port."""

    def __init__(self, emulator: Emulator, service: Service, levers: Levers, token: str) -> None:
        """Keep what is steered, and the token that lets in."""
        self._emulator = emulator
        self._service = service
        self._levers = levers
        self._token = token.encode()

    def serve(self, request: Request, connection: Connection) -> None:
        """Answer one order; never leave one unanswered."""
        answer = self._answer(request)
        answer.headers.append(PLAIN_JSON)
        connection.finish(
            render(answer, close=not request.keep_alive), close=not request.keep_alive
        )

    def _answer(self, request: Request) -> Answer:
        if request.path == "/msi/token":
            return self._managed_identity(request)
        if not hmac.compare_digest(request.headers.get(TOKEN_HEADER, "").encode(), self._token):
            return _problem(
                403, f"the header {TOKEN_HEADER} must hold control_token of dynamics.json"
            )
        act = _ORDERS.get((request.method, request.path))
        if act is None:
            return _problem(404, f"no such order: {request.method} {request.path}")
        try:
            content = orjson.loads(request.body) if request.body else {}
            return Answer(200, body=orjson.dumps(act(self, content, parse_query(request.query))))
        except ValidationError as invalid:
            return _problem(
                400,
                "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in invalid.errors()),
            )
        except (
            Refused,
            orjson.JSONDecodeError,
            ValueError,
            TypeError,
            AttributeError,
            KeyError,
        ) as wrong:
            return _problem(400, f"{type(wrong).__name__}: {wrong}")

    # ---- looking

    def status(self, _content: Any, _query: dict[str, str]) -> dict[str, Any]:
        """Everything at a glance."""
        emulator = self._emulator
        dataverse, sts = emulator.dataverse, emulator.sts
        return {
            "contacts": len(dataverse.contacts),
            "plug_in_runs": dataverse.contacts.plug_in_runs,
            "requests": emulator.journal.last_seq,
            "in_flight": self._service.count_in_flight(),
            "held": emulator.holds.shown(),
            "token_requests": sts.requests,
            "tokens_issued": sts.issued,
            "token_settings": sts.settings.model_dump(),
            "throttled": dataverse.throttle.refused,
            "limits": dataverse.throttle.limits.model_dump(),
            "latency": {name: latency.model_dump() for name, latency in emulator.latency.items()},
            "switches": dataverse.switches.model_dump(),
            "outage": None if emulator.outage is None else emulator.outage.model_dump(),
            "faults": [armed.shown() for armed in emulator.script.armed],
        }

    def get_contacts(self, _content: Any, _query: dict[str, str]) -> dict[str, Any]:
        """Each contact's visibility."""
        contacts = self._emulator.dataverse.contacts
        return {contact.contact_id: contact.columns.get(VISIBILITY_COLUMN) for contact in contacts}

    def get_rows(self, _content: Any, query: dict[str, str]) -> list[dict[str, Any]]:
        """Rows with version and all columns: of one contact, or all."""
        contacts = self._emulator.dataverse.contacts
        wanted = query.get("contact")
        rows = contacts if wanted is None else filter(None, [contacts.by_id.get(wanted.lower())])
        return [
            {
                "contact_id": row.contact_id,
                "version": row.version,
                "modified_ms": row.modified_ms,
                "columns": row.columns,
            }
            for row in rows
        ]

    def get_journal(self, _content: Any, query: dict[str, str]) -> dict[str, Any]:
        """What came after `since`; `oldest` says how far back memory reaches."""
        journal = self._emulator.journal
        limit = min(int(query.get("limit", _MOST_ENTRIES)), _MOST_ENTRIES)
        since = int(query.get("since", 0))
        if "tail" in query:
            since = max(since, journal.last_seq - int(query["tail"]))
        return {
            "entries": journal.since(since, limit),
            "last": journal.last_seq,
            "oldest": journal.oldest_seq,
        }

    def get_in_flight(self, _content: Any, _query: dict[str, str]) -> list[dict[str, Any]]:
        """What is under way."""
        return self._service.in_flight()

    def get_faults(self, _content: Any, _query: dict[str, str]) -> list[dict[str, Any]]:
        """The script, with what each fault has done."""
        return [armed.shown() for armed in self._emulator.script.armed]

    # ---- doing

    def put_contacts(self, content: Any, _query: dict[str, str]) -> dict[str, int]:
        """Write contacts without a request: no journal, no limits, no plug-in."""
        wanted = {read_contact_id(text): read_visibility(value) for text, value in content.items()}
        contacts, now_ms = self._emulator.dataverse.contacts, epoch_ms()
        runs = contacts.plug_in_runs
        results = [
            contacts.write(ById(contact_id), {VISIBILITY_COLUMN: visible}, Precondition(), now_ms)
            for contact_id, visible in wanted.items()
        ]
        contacts.plug_in_runs = runs
        self._emulator.dataverse.log.append(
            [result.contact for result in results if isinstance(result, Written)]
        )
        return {"written": len(results)}

    def delete_contacts(self, content: Any, _query: dict[str, str]) -> dict[str, int]:
        """Delete the named contacts, or with null all of them."""
        dataverse = self._emulator.dataverse
        ids = (
            list(dataverse.contacts.by_id)
            if content["contacts"] is None
            else [read_contact_id(i) for i in content["contacts"]]
        )
        gone = [contact_id for contact_id in ids if dataverse.contacts.remove(contact_id)]
        dataverse.log.append_removed(gone)
        return {"deleted": len(gone)}

    def add_faults(self, content: Any, _query: dict[str, str]) -> dict[str, list[int]]:
        """Arm faults behind those that are there."""
        return {
            "numbers": self._emulator.script.add(
                [Fault.model_validate(one) for one in content["faults"]]
            )
        }

    def clear_faults(self, content: Any, _query: dict[str, str]) -> dict[str, bool]:
        """Disarm one fault or all."""
        self._emulator.script.clear(content.get("number"))
        return {"cleared": True}

    def set_latency(self, content: Any, _query: dict[str, str]) -> dict[str, Any]:
        """Set the general latency of one endpoint."""
        order = LatencyOrder.model_validate(content)
        self._emulator.latency[order.endpoint] = order.latency
        return order.latency.model_dump()

    def set_limits(self, content: Any, _query: dict[str, str]) -> dict[str, Any]:
        """Change what is named of the limits; with `forget` the windows start empty."""
        throttle = self._emulator.dataverse.throttle
        forget = content.pop("forget", False)
        throttle.set_limits(
            type(throttle.limits).model_validate(throttle.limits.model_dump() | content)
        )
        if forget:
            throttle.forget()
        return throttle.limits.model_dump()

    def set_switches(self, content: Any, _query: dict[str, str]) -> dict[str, Any]:
        """Change what is named of the switches."""
        dataverse = self._emulator.dataverse
        dataverse.switches = Switches.model_validate(dataverse.switches.model_dump() | content)
        return dataverse.switches.model_dump()

    def set_token_settings(self, content: Any, _query: dict[str, str]) -> dict[str, Any]:
        """Change how tokens are issued."""
        sts = self._emulator.sts
        sts.settings = TokenSettings.model_validate(sts.settings.model_dump() | content)
        return sts.settings.model_dump()

    def set_outage(self, content: Any, _query: dict[str, str]) -> dict[str, Any]:
        """Begin or end an outage."""
        outage = None if content.get("outage") is None else Outage.model_validate(content["outage"])
        self._levers.set_outage(outage)
        return {"outage": None if outage is None else outage.model_dump()}

    def revoke_tokens(self, _content: Any, _query: dict[str, str]) -> dict[str, bool]:
        """Let no token issued so far in any more."""
        self._emulator.tokens.revoke_all(epoch_s())
        self._emulator.save_identity()
        return {"revoked": True}

    def set_app(self, content: Any, _query: dict[str, str]) -> dict[str, Any]:
        """Register or change an app; without an id the main one."""
        order = AppOrder.model_validate(content)
        identity = self._emulator.identity
        app = identity.apps.setdefault(
            order.client_id or identity.main_client_id, App(order.client_id or "", [])
        )
        if order.secret is not None:
            app.secrets = [order.secret]
        app.secrets = app.secrets if order.secrets is None else order.secrets
        if order.certificate is not None:
            app.certificates.append(order.certificate)
        app.certificates = app.certificates if order.certificates is None else order.certificates
        if order.federated is not None:
            app.federated = [one.model_dump() for one in order.federated]
        app.secret_expired = (
            app.secret_expired if order.secret_expired is None else order.secret_expired
        )
        app.app_user = app.app_user if order.app_user is None else order.app_user
        self._emulator.save_identity()
        self._levers.publish()
        return {
            "client_id": app.client_id,
            "app_user": app.app_user,
            "secret_expired": app.secret_expired,
        }

    def release(self, content: Any, _query: dict[str, str]) -> dict[str, int]:
        """Let held requests go on."""
        return {"released": self._emulator.holds.release(content.get("name"))}

    def reset(self, content: Any, _query: dict[str, str]) -> dict[str, bool]:
        """Back to how it started; with `contacts` and `journal` those are emptied too."""
        self._levers.set_outage(None)
        self._emulator.reset()
        if content.get("contacts"):
            self.delete_contacts({"contacts": None}, {})
        if content.get("journal"):
            self._emulator.journal.clear()
        return {"reset": True}

    def _managed_identity(self, request: Request) -> Answer:
        """Stand in for the identity endpoint of an Azure host (App Service flavour)."""
        expected = self._emulator.identity.identity_header
        if not hmac.compare_digest(
            request.headers.get("x-identity-header", "").encode(), expected.encode()
        ):
            return _problem(
                403, "the header x-identity-header must hold identity_header of dynamics.json"
            )
        resource = parse_query(request.query).get("resource", "")
        answer = self._emulator.sts.managed_identity(resource, epoch_s())
        answer.headers.clear()
        return answer


_ORDERS: dict[tuple[str, str], Callable[[Steering, Any, dict[str, str]], Any]] = {
    ("GET", "/status"): Steering.status,
    ("GET", "/contacts"): Steering.get_contacts,
    ("GET", "/rows"): Steering.get_rows,
    ("GET", "/journal"): Steering.get_journal,
    ("GET", "/in-flight"): Steering.get_in_flight,
    ("GET", "/faults"): Steering.get_faults,
    ("PUT", "/contacts"): Steering.put_contacts,
    ("POST", "/contacts/delete"): Steering.delete_contacts,
    ("POST", "/faults"): Steering.add_faults,
    ("POST", "/faults/clear"): Steering.clear_faults,
    ("POST", "/latency"): Steering.set_latency,
    ("POST", "/limits"): Steering.set_limits,
    ("POST", "/switches"): Steering.set_switches,
    ("POST", "/token-settings"): Steering.set_token_settings,
    ("POST", "/outage"): Steering.set_outage,
    ("POST", "/tokens/revoke"): Steering.revoke_tokens,
    ("POST", "/apps"): Steering.set_app,
    ("POST", "/release"): Steering.release,
    ("POST", "/reset"): Steering.reset,
}


def _problem(status: int, text: str) -> Answer:
    return Answer(status, body=orjson.dumps({"problem": text}))
