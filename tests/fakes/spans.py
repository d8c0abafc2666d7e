"""Spans in memory, in the place of a collector; and what tests ask of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from hlf_sync.telemetry.tracing.traces import Places, Traces
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

PLACES = Places("hlf.mentor.changes", "hlf.mentor.dead-letters", "hlf-sync", "org.example.org")


@dataclass
class Collected:
    """What one or several workers have told."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    def tracer(self) -> Traces:
        """For one worker."""
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        return Traces(provider.get_tracer("hlf-sync"), PLACES)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """All that have ended, by their beginning."""
        return sorted(
            self.exporter.get_finished_spans(),
            key=lambda span: (span.start_time or 0, span.end_time or 0),
        )

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]

    def of(self, name: str) -> list[ReadableSpan]:
        """Those of this name."""
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only one of this name."""
        (span,) = self.of(name)
        return span

    @property
    def traces(self) -> set[int]:
        """The traces that they belong to."""
        return {span.context.trace_id for span in self.spans}

    @property
    def text(self) -> bytes:
        """All that they say, for leak searches."""
        return "\n".join(json.dumps(json.loads(span.to_json())) for span in self.spans).encode()


def said(span: ReadableSpan, name: str) -> object:
    """An attribute's value."""
    return (span.attributes or {}).get(name)
