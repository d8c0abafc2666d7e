-- What the leader remembers of the database it looks at (consumer/hlf_sync/watch/source_watch.py). One row.
--
-- `beat` grows with every look and `token` is new each time; the same pair is kept in Kafka, where the database cannot take it back. A database that
-- shows an older beat, or another token for the same one, is a restored backup or a standby that had not everything.
CREATE TABLE hlf_sync.source_watch (
    only_one    boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    beat        bigint NOT NULL DEFAULT 0,
    token       text NOT NULL DEFAULT '',
    -- Publication, tables and view as they were when all was right: another oid means that one was made anew between two looks.
    fingerprint text,
    -- Why everybody must be looked at once the source is right again; null: no need.
    sweep_owed  text,
    looked_at   timestamptz
);
INSERT INTO hlf_sync.source_watch DEFAULT VALUES;
