-- Whom a call of unknown outcome was about (docs/adr/0136-doubtful-contacts.md). Both columns mean something only while `intended` is not null: a mentor that is
-- not in doubt has no contact in doubt. `doubtful_contacts`: written with the intent, before the call; a contact leaves it with a definite answer about itself.
-- `hidden_meanwhile`: those of them that were hidden since, by a call that an older one may still overtake: they are hidden once more when `doubt_until` has passed.
ALTER TABLE hlf_sync.mentor_ledger ADD COLUMN doubtful_contacts uuid[], ADD COLUMN hidden_meanwhile uuid[];

-- Which contacts a mentor no longer has, that we left visible or whose visibility is in doubt: the one place that says so. Null where no contact is mapped: then
-- nothing is known of what the mapping is to become.
CREATE FUNCTION hlf_sync.former_contacts(contact_id uuid, applied text, intended text, doubtful_contacts uuid[], mapped uuid)
RETURNS uuid[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN mapped IS NOT NULL AND (intended IS NOT NULL OR applied = 'visible' AND contact_id <> mapped) THEN array_remove(
               CASE WHEN applied = 'visible' THEN array_append(array_remove(CASE WHEN intended IS NOT NULL THEN doubtful_contacts END, contact_id), contact_id)
                    WHEN intended IS NOT NULL THEN doubtful_contacts END,
               mapped) END
$$;

-- Who is in doubt now: most likely about the contact that is mapped, else about the one that was called for last.
UPDATE hlf_sync.mentor_ledger l
   SET doubtful_contacts = array_remove(ARRAY[l.contact_id, m.contact_id], NULL)
  FROM hlf_sync.contact_mapping m
 WHERE l.intended IS NOT NULL AND m.mentor_id = l.mentor_id;
