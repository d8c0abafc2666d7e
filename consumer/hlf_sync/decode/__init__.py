"""Bytes → `Decoded`: framing, writer schema, Debezium envelope. Owns the schema registry's client;
knows nothing of Kafka, PostgreSQL or Dynamics.

The way of one record: `decoder` asks `schema` for the writer schema (`framing`), reads the few
fields we need (`pattern` the usual shape, `walker` every other), and lets `envelope` say what they
mean.
"""
