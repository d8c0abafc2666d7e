"""Stories of what goes wrong, and what a real Prometheus says of it: the scene, the stories by
room, the leaks, the figures, the dashboard's panels.

Played by tests/integration/test_monitoring_alerts.py (opt-in). What each must turn on is read from
docs/runbook.md.
"""
