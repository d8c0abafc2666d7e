"""Whether the worker's credentials are accepted: what pipeline/auth_watch asks, of the token endpoint
and of Dynamics.
"""

from hlf_sync.core.verdict import Course
from hlf_sync.dynamics.auth.credentials import RenewingCredentials
from hlf_sync.dynamics.client import DynamicsClient
from hlf_sync.errors import DependencyError, HaltError


class CredentialSignIn:
    """`SignIn`."""

    def __init__(
        self, credentials: RenewingCredentials, dynamics: DynamicsClient | None = None
    ) -> None:
        self._credentials = credentials
        self._dynamics = dynamics

    async def is_welcome(self) -> bool:
        """Whether Dynamics accepts a question that writes nothing."""
        if self._dynamics is None:
            return False
        return (await self._dynamics.who_am_i()).verdict.course is Course.DONE

    async def is_accepted(self, fresh_s: float) -> bool:
        """Whether a token could be had, now or less than `fresh_s` ago."""
        try:
            await self._credentials.prove(fresh_s)
        except (HaltError, DependencyError):
            return False
        return True

    async def refusal(self, fresh_s: float) -> str | None:
        """Why they are refused; None also where nobody answers."""
        try:
            await self._credentials.prove(fresh_s)
        except HaltError as error:
            return str(error)
        except DependencyError:
            return None
        return None
