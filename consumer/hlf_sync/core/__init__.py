"""Decisions: pure functions and small state machines. No I/O, clock, randomness or logging; time
comes in as an argument.
"""
