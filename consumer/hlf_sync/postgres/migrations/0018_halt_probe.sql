-- Dynamics itself refused us: such a halt is lifted by one probing request that it accepts, never by a token. Not before then is the next one made.
ALTER TABLE hlf_sync.halt ADD COLUMN probe_after timestamptz;
-- When such a request was accepted last: who is refused again after it is refused alone.
ALTER TABLE hlf_sync.circuit ADD COLUMN proved_at timestamptz;
