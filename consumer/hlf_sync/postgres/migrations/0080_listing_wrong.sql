-- Whose listing is wrong, and since when: what one leader has seen and the next one goes on from (consumer/hlf_sync/watch/listing_watch.py). Who is wrong for
-- less than two looks, as every change is on its ordinary way, is not written here.
CREATE TABLE hlf_sync.listing_wrong (
    mentor_id uuid PRIMARY KEY,
    wanted    text NOT NULL CHECK (wanted IN ('visible', 'hidden', 'unknown')),
    since     timestamptz NOT NULL
);
