"""What orders to the control port carry, read and judged. Pure; used by `steering`."""

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, field_validator

from hlf_sync_sandbox.dynamics.columns import guid
from hlf_sync_sandbox.dynamics.emulator import Endpoint
from hlf_sync_sandbox.dynamics.latency import Latency


class Refused(Exception):  # noqa: N818 - answers 400
    """The order makes no sense; the text says why."""


class Federated(BaseModel):
    """A federated credential: whose tokens stand for the app. `certificate` is the issuer's, where
    Entra would fetch its keys.
    """

    model_config = ConfigDict(extra="forbid")

    issuer: str
    subject: str
    certificate: str


class AppOrder(BaseModel):
    """Registers an app, or changes one. `secret` replaces all secrets; `certificate` (PEM) is
    added; the lists replace all there are of their kind.
    """

    model_config = ConfigDict(extra="forbid")

    client_id: str | None = None
    secret: str | None = None
    secret_expired: bool | None = None
    secrets: list[str] | None = None
    certificate: str | None = None
    certificates: list[str] | None = None
    federated: list[Federated] | None = None
    app_user: bool | None = None

    @field_validator("certificate")
    @classmethod
    def _is_pem(cls, value: str | None) -> str | None:
        if value is not None:
            x509.load_pem_x509_certificate(value.encode())
        return value


class LatencyOrder(BaseModel):
    """Sets the latency of one endpoint."""

    model_config = ConfigDict(extra="forbid")

    endpoint: Endpoint = "api"
    latency: Latency = Field(default_factory=Latency)


def read_contact_id(text: str) -> str:
    """Read an id, in lower case."""
    contact_id = guid(text)
    if contact_id is None:
        msg = f"{text!r} is not a GUID"
        raise Refused(msg)
    return contact_id


def read_visibility(value: object) -> bool | None:
    """Read a visibility; null means never set."""
    if value is None or isinstance(value, bool):
        return value
    msg = "a visibility is true, false or null"
    raise Refused(msg)
