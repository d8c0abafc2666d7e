"""Request and response as httpx has them, made without parsing: what a transport of our own has is
at hand, the rest is made when somebody asks.

`httpx.Request(…)` costs 50 µs, half of what the whole call costs otherwise (bench/http_client.py);
nearly all of it parses an address and headers that this room has put together itself.
`httpx.MockTransport` and every other transport can be given one.
"""

from collections.abc import Callable, Mapping
from functools import cached_property

import httpx
from multidict import CIMultiDict


class PlainRequest(httpx.Request):
    """A request with a whole body. `address` is an absolute URL in its encoded form."""

    def __init__(
        self, method: str, address: str, fields: Mapping[str, str], body: bytes = b""
    ) -> None:
        # The base's __init__ is left out on purpose: it is what costs.
        self.method, self.address, self.fields, self.body = method, address, fields, body
        self.extensions = {}
        self._content = body

    @classmethod
    def of(cls, request: httpx.Request) -> "PlainRequest":
        """Any request of httpx with a whole body."""
        fields = CIMultiDict(
            (name, value)
            for name, value in request.headers.multi_items()
            if name not in {"host", "content-length"}
        )
        return cls(request.method, str(request.url), fields, request.content)

    @cached_property
    def url(self) -> httpx.URL:  # type: ignore[override] # an attribute there, made on demand here
        """The address, parsed."""
        return httpx.URL(self.address)

    @cached_property
    def headers(self) -> httpx.Headers:  # type: ignore[override]
        """The headers as httpx would send them."""
        implied = {
            "Host": self.url.netloc.decode("ascii"),
            **({"Content-Length": str(len(self.body))} if self.body else {}),
        }
        return httpx.Headers([*implied.items(), *self.fields.items()])

    @cached_property
    def stream(self) -> httpx.ByteStream:  # type: ignore[override]
        """The body."""
        return httpx.ByteStream(self.body)


class PlainResponse(httpx.Response):
    """A response whose header fields are read when somebody asks."""

    def __init__(
        self,
        status: int,
        fields: Callable[[], list[tuple[bytes, bytes]]],
        stream: httpx.AsyncByteStream,
        request: httpx.Request,
    ) -> None:
        super().__init__(status, stream=stream, request=request)
        del self.__dict__["headers"]  # the empty ones that the base made
        self._fields = fields

    @cached_property
    def headers(self) -> httpx.Headers:  # type: ignore[override]
        """The header fields."""
        return httpx.Headers(self._fields())
