-- One pass over Dynamics' public listing: the leader reads it in pages, compares it with the ledger, and keeps a bookmark here, so that a pass whose
-- process dies goes on where it was, in whichever worker leads then. At most one is unfinished. `next_address` is where the listing goes on, null before
-- the first page and after the last (`is_read`); `next_mentor` where the comparison goes on; `counts` what was found so far.
CREATE TABLE hlf_sync.listing_pass (
    pass_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    pages        integer NOT NULL DEFAULT 0,
    next_address text,
    is_read      boolean NOT NULL DEFAULT false,
    counted      integer,
    next_mentor  uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    counts       jsonb NOT NULL DEFAULT '{}'
);
CREATE UNIQUE INDEX listing_pass_unfinished ON hlf_sync.listing_pass ((true)) WHERE finished_at IS NULL;

-- The pages of the unfinished pass: which contacts Dynamics shows. Kept until it ends; a contact id is no personal datum.
CREATE TABLE hlf_sync.listing_page (
    pass_id  bigint NOT NULL REFERENCES hlf_sync.listing_pass ON DELETE CASCADE,
    number   integer NOT NULL,
    address  text,
    contacts uuid[] NOT NULL,
    PRIMARY KEY (pass_id, number)
);
