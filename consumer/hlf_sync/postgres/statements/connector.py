"""The replication slot, as the connector's commands see it."""

SLOT_AND_LOG_END = (
    "SELECT (SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s) AS slot,"
    " CASE WHEN NOT pg_is_in_recovery() THEN (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint"
    " END AS log_end"
)
