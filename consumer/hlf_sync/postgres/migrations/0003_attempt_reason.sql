-- What `why` tells of a call and `reconcile` needs to find duplicates: why it was decided, and in which certification's period.
ALTER TABLE hlf_sync.delivery_attempt ADD COLUMN reason text, ADD COLUMN certification_id uuid;
