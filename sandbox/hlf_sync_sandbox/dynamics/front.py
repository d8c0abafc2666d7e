"""The headers that the front end puts on every answer. Called by `exchange`.

Ids, the recommended parallelism, the debugging headers in their awkward number format, and the
affinity cookie.
"""

from email.utils import formatdate
from random import getrandbits

from hlf_sync_sandbox.dynamics.answers import Header
from hlf_sync_sandbox.dynamics.clock import epoch_s
from hlf_sync_sandbox.dynamics.dataverse import Admission, Dataverse
from hlf_sync_sandbox.dynamics.http1 import Request


class Front:
    """Builds the common headers."""

    def __init__(self, dataverse: Dataverse) -> None:
        """Keep whose limits and servers are shown."""
        self._dataverse = dataverse
        self._date_second = -1
        self._date = ""

    def api_headers(self, request: Request, admission: Admission | None) -> list[Header]:
        """Give the headers of an answer of the Web API."""
        dataverse = self._dataverse
        request_id = _fresh_id()
        headers = [
            ("Date", self._now()),
            ("OData-Version", "4.0"),
            ("Cache-Control", "no-cache"),
            ("x-ms-service-request-id", request_id),
            ("REQ_ID", request_id),
            ("AuthActivityId", _fresh_id()),
            ("x-ms-dop-hint", str(dataverse.switches.dop_hint)),
        ]
        if admission is None:
            return headers
        requests, execution_s = dataverse.throttle.remaining(
            admission.app.client_id, admission.server
        )
        headers.append(("x-ms-ratelimit-burst-remaining-xrm-requests", str(requests)))
        headers.append(("x-ms-ratelimit-time-remaining-xrm-requests", f"{execution_s:,.2f}"))
        cookie = request.headers.get("cookie")
        if dataverse.servers.pinned(cookie, dataverse.switches.servers) is None:
            headers.append(("Set-Cookie", dataverse.servers.set_cookie(admission.server)))
        return headers

    def token_headers(self) -> list[Header]:
        """Give the headers of an answer of the token service."""
        return [
            ("Date", self._now()),
            ("x-ms-request-id", _fresh_id()),
            ("X-Content-Type-Options", "nosniff"),
        ]

    def _now(self) -> str:
        second = int(epoch_s())
        if second != self._date_second:
            self._date_second, self._date = second, formatdate(second, usegmt=True)
        return self._date


def _fresh_id() -> str:
    """Make a GUID as `uuid4` does, for a quarter of the time: two go out with every answer."""
    digits = f"{getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"
