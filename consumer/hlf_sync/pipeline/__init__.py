"""One change's way through the worker: intake → screening → delivery → recording. Shells around
core/; they know ports, not rooms.
"""
