-- What Dynamics has refused, as contact and operation: a sweep asks for it again only once one of them is another.
ALTER TABLE hlf_sync.mentor_ledger ADD COLUMN refusal text;
