-- What the replay of dead letters adds.

-- Letters that a person looked into and closed, with who and why: all that can be done about a record that nobody can read.
CREATE TABLE hlf_sync.closed_letter (
    letter_id text PRIMARY KEY,
    mentor_id uuid,
    closed_at timestamptz NOT NULL DEFAULT now(),
    closed_by text NOT NULL,
    reason    text NOT NULL
);

-- Whether a letter was asked for already: what a replay that was killed goes on from.
CREATE INDEX sync_request_letter ON hlf_sync.sync_request (dead_letter_id, created_at) WHERE dead_letter_id IS NOT NULL;
