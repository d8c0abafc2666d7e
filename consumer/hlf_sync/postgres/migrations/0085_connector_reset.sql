-- A connector that is to forget its position: noted before the first step (stop, delete its offsets, go on) and struck out after the last one. A reset that
-- was killed in between leaves the connector stopped; by this row the leader, or the next call of the command, knows that it was no operator's
-- `connector stop` and finishes it. One at a time: consumer/hlf_sync/postgres/connector_reset.py takes an advisory lock.
CREATE TABLE hlf_sync.connector_reset (
    connector text PRIMARY KEY,
    begun_at  timestamptz NOT NULL DEFAULT now(),
    begun_by  text NOT NULL
);
