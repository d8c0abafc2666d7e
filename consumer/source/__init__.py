"""Kafka in: the one room that owns confluent_kafka's consumer. Knows records and offsets, not what they mean."""
