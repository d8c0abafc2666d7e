"""The schema registry: read by id, and the one schema that hlf-sync registers."""
