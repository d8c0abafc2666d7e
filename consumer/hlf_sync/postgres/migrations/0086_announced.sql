-- What a team has been told by the webhook and is not over yet (consumer/hlf_sync/watch/announcer.py): kept here, so that another leader does not tell it again.
CREATE TABLE hlf_sync.announced (
    kind    text NOT NULL,
    subject text NOT NULL,
    told_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, subject)
);
