-- Which claim was recorded last: a record whose COMMIT was never answered is told from one that lost its lease.
ALTER TABLE hlf_sync.mentor_ledger ADD COLUMN recorded_generation bigint;
