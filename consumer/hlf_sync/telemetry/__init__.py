"""What is seen from outside of the process: logs, metrics, traces."""
