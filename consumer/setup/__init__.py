"""Sets the source side up: our tables, the connector, the topics, from the files in connectors/."""
