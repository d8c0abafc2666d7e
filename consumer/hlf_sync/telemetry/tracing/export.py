"""Where spans go: a bounded queue, a thread that sends them by OTLP over HTTP, and the standard
OTEL_… variables of the environment.

Opened by the wiring. A collector that is slow, away or wrong costs spans and nothing else: what
finds no room is dropped and counted, failures are logged once, closing is bounded.
"""

import os
import threading
from collections.abc import Sequence

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer

from hlf_sync.errors import SettingsError
from hlf_sync.telemetry.tracing.collector import open_session

_log = structlog.get_logger()

_PROTOCOL = "http/protobuf"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_QUEUE = "OTEL_BSP_MAX_QUEUE_SIZE"
# OpenTelemetry's own default (spans), where OTEL_BSP_MAX_QUEUE_SIZE says nothing.
_ROOM = 2_048
# Less than what a stopping worker has for closing (worker/shutdown.py).
_CLOSE_S = 0.8


class Counted(SpanExporter):
    """Sends by another exporter, and knows how that goes. Called by the sending thread; `exported`
    and `lost` count spans.
    """

    def __init__(self, sender: SpanExporter) -> None:
        self._sender = sender
        self._is_failing = False
        self.exported = 0
        self.lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send these; never raises."""
        try:
            result, why = self._sender.export(spans), "the collector did not take them"
        except Exception as error:  # noqa: BLE001 - whatever a sender does, the work goes on
            result, why = SpanExportResult.FAILURE, type(error).__name__
        if result is SpanExportResult.SUCCESS:
            self.exported += len(spans)
        else:
            self.lost += len(spans)
        self._say(result, why)
        return result

    def shutdown(self) -> None:
        """End the sender; it stops waiting."""
        self._sender.shutdown()

    def _say(self, result: SpanExportResult, why: str) -> None:
        """Once when it begins to fail, once when it works again."""
        is_failing = result is not SpanExportResult.SUCCESS
        if is_failing is not self._is_failing:
            self._is_failing = is_failing
            if is_failing:
                _log.warning("spans_lost", detail=why)
            else:
                _log.info("spans_exported_again")


class Bounded(SpanProcessor):
    """The queue before the sending thread: a span that finds it full is dropped, and counted as
    lost.
    """

    def __init__(self, exporter: Counted, room: int, **batching: float) -> None:
        self._exporter = exporter
        self._batches = BatchSpanProcessor(
            exporter,
            max_queue_size=room,
            max_export_batch_size=min(512, room),
            **batching,  # type: ignore[arg-type]
        )
        self._room = room
        self._ended = 0
        self._dropped = 0

    @property
    def exported(self) -> int:
        """Spans that the collector has."""
        return self._exporter.exported

    @property
    def lost(self) -> int:
        """Spans that nobody has, and those of a batch of which the collector rejected some."""
        return self._dropped + self._exporter.lost

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: spans count when they end."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queue it if there is room. Called on the event loop."""
        if not span.context.trace_flags.sampled:
            return
        # Those being sent count as waiting: the room is what memory holds.
        if self._ended - self._exporter.exported - self._exporter.lost >= self._room:
            self._dropped += 1
            return
        self._ended += 1
        self._batches.on_end(span)

    def shutdown(self) -> None:
        """Send what waits, but not for long: a collector that does not answer must not hold up the
        end of the process.
        """
        ending = threading.Thread(target=self._batches.shutdown, name="spans-ending", daemon=True)
        ending.start()
        ending.join(_CLOSE_S)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits."""
        return self._batches.force_flush(timeout_millis)


class Export:
    """Spans of one process, and where they go."""

    def __init__(
        self,
        sender: SpanExporter,
        *,
        version: str,
        worker: str,
        room: int = _ROOM,
        **batching: float,
    ) -> None:
        self.queue = Bounded(Counted(sender), room, **batching)
        named = {SERVICE_VERSION: version, SERVICE_INSTANCE_ID: worker}
        if not os.environ.get("OTEL_SERVICE_NAME") and "service.name=" not in os.environ.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        ):
            named[SERVICE_NAME] = "hlf-sync"
        self._provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        self._provider.add_span_processor(self.queue)
        self.tracer: Tracer = self._provider.get_tracer("hlf-sync", version)

    def close(self) -> None:
        """Send what waits, within a second."""
        self._provider.shutdown()


def open_export(variables: dict[str, str], *, version: str, worker: str) -> Export:
    """As the OTEL_… variables say; `variables` are those of the env file, which the environment
    overrules. Raises `SettingsError`.
    """
    for name, value in variables.items():
        os.environ.setdefault(name, value)
    spoken = next((os.environ[name] for name in _PROTOCOLS if os.environ.get(name)), _PROTOCOL)
    if spoken != _PROTOCOL:
        raise SettingsError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {spoken}: hlf-sync speaks {_PROTOCOL} only (a"
            " collector's port 4318)"
        )
    room = os.environ.get(_QUEUE, "")
    return Export(
        OTLPSpanExporter(session=open_session()),
        version=version,
        worker=worker,
        room=int(room) if room.isdecimal() and int(room) else _ROOM,
    )
