"""The only owner of confluent_kafka: records, letters, offsets, topics. Knows bytes and positions,
not what they mean.
"""
