-- Why everybody must be looked at once a connector's reset has ended; null where its caller has seen to that. Noted with the reset, so that who finishes a reset
-- that was killed (the leader) also knows of the sweep. At the reset's end it goes to source_watch.sweep_owed.
ALTER TABLE hlf_sync.connector_reset ADD COLUMN sweep text;
