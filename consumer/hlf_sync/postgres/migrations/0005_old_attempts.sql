-- Old attempts are deleted by the leader (consumer/hlf_sync/worker/leader.py), and `reconcile` counts calls by their time. Rows come in the order of time, so a
-- few pages of BRIN do what a tree would, and cost the calls nothing.
CREATE INDEX delivery_attempt_started ON hlf_sync.delivery_attempt USING brin (started_at) WITH (pages_per_range = 16, autosummarize = on);
