-- Which workers there are, so that `top` and `status` find all of them by themselves: written by each worker every few seconds, taken away when it ends well. A
-- row that is no longer written is a worker that was killed, is frozen, or is cut off from PostgreSQL; the leader deletes it after a day.
CREATE TABLE hlf_sync.worker (
    name       text PRIMARY KEY,
    address    text NOT NULL,
    version    text NOT NULL,
    partitions integer[] NOT NULL DEFAULT '{}',
    since      timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now()
);
