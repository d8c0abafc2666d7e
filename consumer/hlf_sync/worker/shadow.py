"""Where Dynamics would be, while `HLF_SYNC_DELIVERY` is shadow."""

from hlf_sync.core.model import ContactId, Operation
from hlf_sync.errors import InvariantError
from hlf_sync.ports import CallResult


class Shadow:
    """`DynamicsPort`: nothing may get here."""

    async def call(self, contact_id: ContactId, operation: Operation) -> CallResult:
        """Refuse."""
        raise InvariantError(f"{operation} of {contact_id} in shadow")
