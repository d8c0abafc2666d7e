"""Whom, not how many: everybody who is not at rest. Shown by `hlf-sync pending`."""
