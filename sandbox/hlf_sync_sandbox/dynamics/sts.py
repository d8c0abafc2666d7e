"""Microsoft Entra ID as far as client credentials go: the discovery document, the token endpoint,
the AADSTS errors.

Called by `exchange` for paths outside `/api`. Pure but for the token counter; the caller brings
epoch seconds. Which status goes with which AADSTS number is documented for some only: see README,
unverified.
"""

import uuid
from dataclasses import dataclass
from urllib.parse import parse_qs

from pydantic import BaseModel, ConfigDict, Field

from hlf_sync_sandbox.dynamics.answers import PLAIN_JSON, Answer, json_answer
from hlf_sync_sandbox.dynamics.assertion import is_federated, is_signed_by
from hlf_sync_sandbox.dynamics.clock import utc_text
from hlf_sync_sandbox.dynamics.identity import App, Identity
from hlf_sync_sandbox.dynamics.tokens import Tokens

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Aadsts:
    """One error of the token endpoint."""

    number: int
    error: str
    status: int
    text: str


ERRORS: dict[int, Aadsts] = {
    row.number: row
    for row in (
        Aadsts(
            7000215,
            "invalid_client",
            401,
            "Invalid client secret provided. Ensure the secret being sent in the request is the"
            " client secret value, not the client secret ID, for a secret added to app '{app}'.",
        ),
        Aadsts(
            7000222,
            "invalid_client",
            401,
            "The provided client secret keys for app '{app}' are expired.",
        ),
        Aadsts(
            7000216,
            "invalid_client",
            401,
            "'client_assertion', 'client_secret' or 'request' is required.",
        ),
        Aadsts(
            700027,
            "invalid_client",
            401,
            "The certificate used to sign the client assertion is not registered.",
        ),
        Aadsts(
            700016,
            "unauthorized_client",
            400,
            "Application with identifier '{app}' was not found in the directory.",
        ),
        Aadsts(90002, "invalid_request", 400, "Tenant '{tenant}' not found."),
        Aadsts(
            900144,
            "invalid_request",
            400,
            "The request body must contain the following parameter: '{parameter}'.",
        ),
        Aadsts(
            70003,
            "unsupported_grant_type",
            400,
            "The app requested an unsupported grant type '{grant}'.",
        ),
        Aadsts(
            500011,
            "invalid_resource",
            400,
            "The resource principal named {resource} was not found in the tenant.",
        ),
        Aadsts(
            70011,
            "invalid_scope",
            400,
            "The provided request must include a valid 'scope' input parameter.",
        ),
        Aadsts(
            90033,
            "temporarily_unavailable",
            503,
            "A transient error has occurred. Please try again.",
        ),
        Aadsts(
            50196,
            "invalid_grant",
            400,
            "The server terminated an operation because it encountered a client request loop.",
        ),
    )
}
"""By number. 50196 answers 400 on the wire although it means "slow down" [unverified]."""


class TokenSettings(BaseModel):
    """How tokens are issued. `refresh_in_s` None: not sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lifetime_s: int = Field(3599, ge=0)
    refresh_in_s: int | None = Field(None, ge=0)


class Sts:
    """The token service of one tenant. `base` is `https://host:port`, where a request believes to
    be.
    """

    def __init__(self, identity: Identity, tokens: Tokens) -> None:
        """Keep whom to know and who issues."""
        self._identity = identity
        self._tokens = tokens
        self.resources: frozenset[str] = frozenset()
        """The organisation's addresses, one for each name in its certificate; set once the port is known."""
        self.settings = TokenSettings()
        self.requests = 0
        """Token requests so far, refused ones included: for single-flight assertions."""
        self.issued = 0

    def discovery(self, tenant: str, base: str, now_s: float) -> Answer:
        """Answer the OpenID configuration."""
        if tenant != self._identity.tenant_id:
            return self.refuse(90002, now_s, tenant=tenant)
        root = f"{base}/{tenant}"
        return json_answer(
            200,
            {
                "issuer": f"{root}/v2.0",
                "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
                "token_endpoint": f"{root}/oauth2/v2.0/token",
                "jwks_uri": f"{root}/discovery/v2.0/keys",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "response_types_supported": ["token"],
            },
        )

    def token(self, tenant: str, body: bytes, base: str, now_s: float) -> Answer:
        """Answer a token request."""
        self.requests += 1
        if tenant != self._identity.tenant_id:
            return self.refuse(90002, now_s, tenant=tenant)
        form = {
            name: values[0]
            for name, values in parse_qs(
                body.decode("utf-8", "replace"), max_num_fields=100
            ).items()
        }
        missing = next(
            (name for name in ("grant_type", "client_id", "scope") if not form.get(name)), None
        )
        if missing is not None:
            return self.refuse(900144, now_s, parameter=missing)
        if form["grant_type"] != "client_credentials":
            return self.refuse(70003, now_s, grant=form["grant_type"])
        app = self._identity.apps.get(form["client_id"])
        if app is None:
            return self.refuse(700016, now_s, app=form["client_id"])
        return self._refuse_credential(app, form, tenant, base, now_s) or self._issue(
            app, form["scope"], now_s
        )

    def refuse(self, number: int, now_s: float, **values: str) -> Answer:
        """Answer with the error of that number."""
        row = ERRORS[number]
        named = {
            "app": self._identity.main_client_id,
            "tenant": self._identity.tenant_id,
            "resource": "",
            "grant": "",
        }
        text = row.text.format_map({**named, "parameter": "scope", **values})
        trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
        moment = utc_text(now_s)
        content = {
            "error": row.error,
            "error_description": (
                f"AADSTS{number}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp:"
                f" {moment}"
            ),
            "error_codes": [number],
            "timestamp": moment,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"https://login.microsoftonline.com/error?code={number}",
        }
        answer = json_answer(row.status, content, code=f"AADSTS{number}")
        answer.headers = [PLAIN_JSON]
        return answer

    def managed_identity(self, resource: str, now_s: float) -> Answer:
        """Answer as the identity endpoint of an Azure host does: no credential, the
        host vouches.
        """
        audience = resource.removesuffix("/.default").rstrip("/").lower()
        if audience not in self.resources:
            return json_answer(
                400, {"error": "invalid_resource", "error_description": "AADSTS500011"}
            )
        self.issued += 1
        lifetime_s = self.settings.lifetime_s
        app = self._identity.main
        token = self._tokens.issue(app.client_id, audience, now_s=now_s, lifetime_s=lifetime_s)
        content = {
            "access_token": token,
            "expires_on": str(int(now_s) + lifetime_s),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": app.client_id,
        }
        return json_answer(200, content)

    def _refuse_credential(
        self, app: App, form: dict[str, str], tenant: str, base: str, now_s: float
    ) -> Answer | None:
        assertion, secret = form.get("client_assertion"), form.get("client_secret")
        if assertion is not None and form.get("client_assertion_type") == _ASSERTION_TYPE:
            audiences = {f"{base}/{tenant}/oauth2/v2.0/token", f"{base}/{tenant}/v2.0"}
            good = is_signed_by(
                assertion,
                app.certificates,
                client_id=app.client_id,
                audiences=audiences,
                now_s=now_s,
            )
            good = good or is_federated(assertion, app.federated, now_s=now_s)
            return None if good else self.refuse(700027, now_s)
        if secret is None:
            return self.refuse(7000216, now_s)
        if secret not in app.secrets:
            return self.refuse(7000215, now_s, app=app.client_id)
        return self.refuse(7000222, now_s, app=app.client_id) if app.secret_expired else None

    def _issue(self, app: App, scope: str, now_s: float) -> Answer:
        if not scope.endswith("/.default") or " " in scope:
            return self.refuse(70011, now_s)
        resource = scope.removesuffix("/.default").rstrip("/").lower()
        if resource not in self.resources:
            return self.refuse(500011, now_s, resource=resource)
        self.issued += 1
        lifetime_s = self.settings.lifetime_s
        content = {"token_type": "Bearer", "expires_in": lifetime_s, "ext_expires_in": lifetime_s}
        if self.settings.refresh_in_s is not None:
            content["refresh_in"] = self.settings.refresh_in_s
        content["access_token"] = self._tokens.issue(
            app.client_id, resource, now_s=now_s, lifetime_s=lifetime_s
        )
        answer = json_answer(200, content)
        answer.headers = [
            PLAIN_JSON,
            ("Cache-Control", "no-store, no-cache"),
            ("Pragma", "no-cache"),
        ]
        return answer
