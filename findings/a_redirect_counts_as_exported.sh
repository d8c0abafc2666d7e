#!/usr/bin/env bash
# Question: OpenTelemetry's OTLP exporter over HTTP sends to http://collector/v1/traces; a proxy in front answers 308 to https://…, as
#   most do. And a collector answers 200 with a partial_success that says it rejected a span. What does the exporter report?
# Guess: it follows the redirect (or reports a failure), and it warns of the rejected span, as the OTLP specification asks for.
# What happens: SUCCESS both times, and not one line in the log. Redirects (301, 302, 303, 307, 308) are not followed: the spans are gone. The
#   answer's body is not read. Counters of exported spans grow, the backend stays empty.
# Versions: opentelemetry-exporter-otlp-proto-http 1.45.2, opentelemetry-sdk 1.45.2. Seen: one POST each, nothing at the new place,
#   SUCCESS; log lines: none. For comparison 400: FAILURE and one line.
source "$(dirname "$0")/lab.sh"
lab opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2
"$LAB/bin/python" - <<'PY'
import http.server
import logging
import threading
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

lines: list[str] = []
seen: list[str] = []
answer: tuple[int, bytes] = (200, b"")


class Proxy(http.server.BaseHTTPRequestHandler):
    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        seen.append(f"{self.command} {self.path}")
        code, body = answer if self.path == "/v1/traces" else (200, b"")
        self.send_response(code)
        if 300 <= code < 400:
            self.send_header("Location", "/secure/v1/traces")
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_: object) -> None:
        pass


class Kept(SpanExporter):
    """The exporter's word, kept."""

    def __init__(self, inner: SpanExporter) -> None:
        self.inner, self.result = inner, ""

    def export(self, spans):
        result = self.inner.export(spans)
        self.result = result.name
        return result


class Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.INFO:
            lines.append(record.getMessage())


logging.getLogger().addHandler(Lines())
logging.getLogger().setLevel(logging.INFO)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("exporter", version("opentelemetry-exporter-otlp-proto-http"))


def send(code: int, body: bytes = b"") -> tuple[str, list[str], int]:
    """The exporter's word, what was asked for, lines in the log."""
    global answer
    answer = (code, body)
    seen.clear()
    lines.clear()
    kept = Kept(OTLPSpanExporter(f"http://127.0.0.1:{server.server_port}/v1/traces", timeout=5))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    provider.get_tracer("finding").start_span("one").end()
    return kept.result, list(seen), len(lines)


for code in (301, 302, 303, 307, 308):
    told = send(code)
    print(code, told)
    assert told == ("SUCCESS", ["POST /v1/traces"], 0), told
partial = ExportTraceServiceResponse()
partial.partial_success.rejected_spans = 1
partial.partial_success.error_message = "attribute too long"
told = send(200, partial.SerializeToString())
print("200, one span rejected", told)
assert told == ("SUCCESS", ["POST /v1/traces"], 0), told
told = send(400)
print(400, told)
assert told == ("FAILURE", ["POST /v1/traces"], 1), told
PY
