"""Bytes → `Decoded`: framing, writer schema, Debezium envelope. Knows nothing of Kafka,
PostgreSQL or Dynamics; the registry's client is in `registry`.

The way of one record: `decoder` asks `schema` for the writer schema (`framing`), reads the few
fields we need (`pattern` the usual shape, `walker` every other), and lets `envelope` say what they
mean.
"""
