"""Delivers with newly given credentials when PostgreSQL, Kafka and the registry are down (R64).

A roster file says what each contact should show, a journal file beside it what was asked and
answered. Nothing here needs a worker.
"""
