-- Who asks for a look with hlf-sync's own commands (`force`, `unpause`, `break-glass settle`) is an operator, and no coordinator: the coordinators' page tells them
-- apart. Debezium does not read the column, the application and the web service may not write it (connectors/sql/02_source.sql).
ALTER TABLE hlf_sync.sync_request ADD COLUMN is_by_operator boolean NOT NULL DEFAULT false;
