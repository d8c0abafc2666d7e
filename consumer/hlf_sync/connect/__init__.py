"""Kafka Connect and its connector: the REST interface, what should be configured, what a failed
task says.
"""
