"""Whom, not how many: every mentor that is not at rest. Shown by `hlf-sync pending`."""
