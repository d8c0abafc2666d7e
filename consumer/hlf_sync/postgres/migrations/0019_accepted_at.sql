-- When some worker's credentials were accepted last, after a refusal had halted all: who is still refused then, is refused alone.
ALTER TABLE hlf_sync.circuit ADD COLUMN accepted_at timestamptz;
