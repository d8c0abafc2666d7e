-- Which contact `applied` is about: after a mapping was corrected, it says nothing of the new contact.
ALTER TABLE hlf_sync.mentor_ledger ADD COLUMN contact_id uuid;
