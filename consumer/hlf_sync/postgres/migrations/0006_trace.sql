-- Which OpenTelemetry trace an open delivery belongs to (a W3C traceparent): whoever goes on with it, after a restart or by a replay, continues that trace.
-- Null where nothing is traced, and from the delivery's success on.
ALTER TABLE hlf_sync.mentor_ledger ADD COLUMN trace_parent text;
