"""The contract with the customer's Dynamics, in one place (requirement R33): where the record is,
which column says 'shown', and with which values.

Made from the settings by the wiring. Refuses at construction what would be unsafe on the wire
(R25); nothing else checks addresses.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson

from hlf_sync.core.model import ContactId, Operation, Visibility
from hlf_sync.errors import InvariantError, SettingsError

VERSION = 1
"""Of this contract's shape; a change of meaning gets a new number and a line in docs/adr/."""

_API_VERSION = re.compile(r"v\d+\.\d+", re.ASCII)
_NAME = re.compile(r"[A-Za-z_]\w{0,127}", re.ASCII)
_CONTACT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)

Value = bool | int | str


@dataclass(frozen=True, slots=True)
class DynamicsContract:
    """Which column of which record of which environment. `base_url` is scheme and host (and port)
    only.
    """

    base_url: str
    api_version: str = "v9.2"
    entity_set: str = "contacts"
    visibility_column: str = "new_showonwebsite"
    visible_value: Value = True
    hidden_value: Value = False

    def __post_init__(self) -> None:
        """Raise `SettingsError` for what must never reach the wire."""
        require_https(
            self.base_url, "HLF_SYNC_DYNAMICS_BASE_URL", "https://contoso.crm.dynamics.com"
        )
        _require(_API_VERSION, self.api_version, "HLF_SYNC_DYNAMICS_API_VERSION", "v9.2")
        _require(_NAME, self.entity_set, "HLF_SYNC_DYNAMICS_ENTITY_SET", "contacts")
        _require(
            _NAME,
            self.visibility_column,
            "HLF_SYNC_DYNAMICS_VISIBILITY_COLUMN",
            "new_showonwebsite",
        )
        if self.visible_value == self.hidden_value:
            message = "the visibility column's two values must differ"
            raise SettingsError(message)

    @property
    def root(self) -> str:
        """The Web API's address, with a slash at the end."""
        return f"{self.base_url.rstrip('/')}/api/data/{self.api_version}/"

    def contact_address(self, contact_id: ContactId) -> str:
        """The record's address. A contact id that is not a UUID would be part of a path, so it never
        gets there.
        """
        if _CONTACT_ID.fullmatch(contact_id) is None:
            message = "a contact id is not a UUID in lower case"
            raise InvariantError(message)
        return f"{self.root}{self.entity_set}({contact_id})"

    def body(self, operation: Operation) -> bytes:
        """The one column with the value that this operation ends in (R22). A second column would
        stand here.
        """
        return orjson.dumps({self.visibility_column: self.value_of(operation.wanted)})

    def value_of(self, visibility: Visibility) -> Value:
        """How the column says it."""
        return self.visible_value if visibility is Visibility.VISIBLE else self.hidden_value

    def visibility_of(self, value: object) -> Visibility | None:
        """What the column says; an empty one hides, as the website's filter has it. None for a
        value outside the contract.
        """
        if value is None:
            return Visibility.HIDDEN
        for visibility in Visibility:
            known = self.value_of(visibility)
            if type(value) is type(known) and value == known:
                return visibility
        return None


def require_https(address: str, name: str, example: str) -> None:
    """Raise `SettingsError` unless the address is https, and scheme and host only."""
    try:
        parts = urlsplit(address)
        has_host_only = (
            bool(parts.hostname)
            and parts.port != 0
            and not (parts.path.rstrip("/") or parts.query or parts.fragment)
        )
        is_fit = (
            parts.scheme == "https"
            and has_host_only
            and "@" not in parts.netloc
            and address.isascii()
        )
    except ValueError:
        is_fit = False
    if not is_fit:
        message = (
            f"{name} must be an https:// address, scheme and host only (example:"
            f" {name}='{example}')"
        )
        raise SettingsError(message)


def _require(pattern: re.Pattern[str], value: str, name: str, example: str) -> None:
    if pattern.fullmatch(value) is None:
        message = f"{name} is malformed (example: {name}='{example}')"
        raise SettingsError(message)
