"""The real stack on one machine, without Docker: for tests, the demo and whoever wants to try. Not
needed in production.
"""
