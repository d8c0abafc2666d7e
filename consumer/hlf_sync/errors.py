"""Our exceptions: the class says what must happen.

    HlfSyncError
    ├── SettingsError           cannot start: exit 2
    ├── DependencyError         PostgreSQL, Kafka or the registry cannot be reached: wait, say so, try again
    ├── ChangeError             this record can never succeed: a dead letter, go on
    │   ├── DecodeError
    │   ├── ContractError
    │   └── MentorMappingError
    ├── DynamicsError           a call failed; its `code` says how
    └── HaltError               must not go on: stop calling, commit nothing more
        ├── AuthError
        ├── DeadLetterError
        ├── DeadLetterLimitError
        └── InvariantError

Raised at the edges only; the core says the same things with values. A message never holds a secret,
a token, a personal datum, a body, or the text of somebody else's exception (which may quote them);
the cause is chained, not quoted.
"""

from hlf_sync.core.cause_words import in_words
from hlf_sync.core.model import ErrorCode


class HlfSyncError(Exception):
    """Everything that this package raises on purpose."""


class SettingsError(HlfSyncError):
    """The settings do not allow to start. The message names the variable, what is wrong, and an
    example.
    """


class DependencyError(HlfSyncError):
    """`dependency` (PostgreSQL, Kafka, the registry) cannot be reached; `detail` is the kind of
    failure, never its text: as a code for logs, in words for people.
    """

    def __init__(self, dependency: str, detail: str) -> None:
        super().__init__(f"{dependency} cannot be reached ({in_words(detail)})")
        self.dependency, self.detail = dependency, detail


class ChangeError(HlfSyncError):
    """This record can never succeed. `error_code` is the dead letter's."""

    def __init__(self, error_code: str, detail: str = "") -> None:
        super().__init__(f"{error_code}: {detail}" if detail else error_code)
        self.error_code, self.detail = error_code, detail


class DecodeError(ChangeError):
    """The record's bytes are not what the topic promises."""


class ContractError(ChangeError):
    """The record or the facts lie outside the contract with the source."""


class MentorMappingError(ChangeError):
    """The mentor has no Dynamics contact."""

    def __init__(self, mentor_id: str) -> None:
        super().__init__("mentor_mapping", f"mentor {mentor_id} has no contact")
        self.mentor_id = mentor_id


class DynamicsError(HlfSyncError):
    """A call to Dynamics failed. `code` says how (requirement R28), `correlation_id` which
    request.
    """

    def __init__(
        self, code: ErrorCode, *, http_status: int | None = None, correlation_id: str | None = None
    ) -> None:
        answer = "no answer" if http_status is None else f"status {http_status}"
        super().__init__(f"{code} ({answer}, correlation id {correlation_id or 'none'})")
        self.code, self.http_status, self.correlation_id = code, http_status, correlation_id


class HaltError(HlfSyncError):
    """Must not go on."""


class AuthError(HaltError):
    """The credentials, or the privileges that come with them, are refused.

    `error` is OAuth's word (`invalid_client`), `aadsts` Entra's number: a hint for operators,
    nothing branches on it. Entra's description is left out, it may quote what was sent.
    """

    def __init__(
        self, error: str, *, aadsts: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"credentials refused: {error}" + (f" (AADSTS{aadsts})" if aadsts else ""))
        self.error, self.aadsts, self.retry_after_s = error, aadsts, retry_after_s


class DeadLetterError(HaltError):
    """A dead letter could not be written."""


class DeadLetterLimitError(HaltError):
    """Dead letters outrun successes: a misconfiguration must not empty the topic into them."""


class InvariantError(HaltError):
    """Something happened that our own code rules out."""
