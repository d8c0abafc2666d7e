"""The connection to the collector, which makes a failure of each answer that is not a plain success.

OpenTelemetry's exporter takes a redirect for a success, and does not read the answer in which a
collector says that it rejected spans (findings/a_redirect_counts_as_exported.sh): an ingress that
sends http:// on to https:// would lose every span, and the counters would say that all is well.
Opened by `export`; sends nothing by itself.
"""

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from requests import RequestException, Response, Session


def open_session() -> Session:
    """A session for the exporter. It raises `RequestException` where spans did not arrive, which
    the exporter neither repeats nor lets out: the batch has failed.
    """
    session = Session()
    session.hooks["response"].append(_judge)
    return session


def _judge(response: Response, *_: object, **__: object) -> None:
    """The place of a redirect is not told: it may hold a key."""
    message = ""
    if 300 <= response.status_code < 400:  # noqa: PLR2004 - HTTP's class of redirects
        message = f"{response.status_code}: the endpoint redirects; set the address it stands for"
    elif response.ok and (rejected := _rejected(response.content)):
        message = f"the collector rejected {rejected} of the spans"
    if message:
        response.close()
        raise RequestException(message)


def _rejected(body: bytes) -> int:
    """OTLP 1.x, "partial success". A body that is none (a proxy's page) says nothing of spans."""
    answer = ExportTraceServiceResponse()
    try:
        answer.ParseFromString(body)
    except Exception:  # noqa: BLE001 - protobuf's own error class is another one in each of its forms
        return 0
    return int(answer.partial_success.rejected_spans)
