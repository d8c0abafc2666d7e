-- What holds up the fleet and no other table tells (the connector has failed, Kafka is away …): the leading worker's words, each with since when, the firmest first,
-- written on a change and every ten seconds (consumer/hlf_sync/worker/fleet_reporting.py). A row that is no longer written means that no worker leads, or that the
-- leading one is frozen or cut off. Words of core/fleet_verdict.py and times only: coordinators see them through the fleet's row of coordinator_view.
CREATE TABLE hlf_sync.fleet_verdict (
    organization text PRIMARY KEY,
    reasons      jsonb NOT NULL,
    reported_at  timestamptz NOT NULL DEFAULT now()
);
