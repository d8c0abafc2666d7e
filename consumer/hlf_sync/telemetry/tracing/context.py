"""OpenTelemetry's span contexts, from and to a traceparent. Used by traces.py."""

from opentelemetry.trace import SpanContext, TraceFlags

from hlf_sync.telemetry.trace_parent import parts_of, trace_parent


def context_of(text: str | None) -> SpanContext | None:
    """The context that a traceparent names; None for what is none."""
    parts = parts_of(text)
    if parts is None:
        return None
    trace_id, span_id, is_sampled = parts
    return SpanContext(
        trace_id,
        span_id,
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT),
    )


def text_of(context: SpanContext) -> str | None:
    """What others need to go on with it."""
    return (
        trace_parent(context.trace_id, context.span_id, is_sampled=context.trace_flags.sampled)
        if context.is_valid
        else None
    )
