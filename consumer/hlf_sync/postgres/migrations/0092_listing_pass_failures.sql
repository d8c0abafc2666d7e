-- How often in a row the page at `next_address` could not be read: a paging cookie that Dynamics answers with 5xx for ever must not hold up the verification
-- for a day (consumer/hlf_sync/reconcile/listing_pass.py).
ALTER TABLE hlf_sync.listing_pass ADD COLUMN failures integer NOT NULL DEFAULT 0;
