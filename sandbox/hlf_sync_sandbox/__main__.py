"""`python -m sandbox`: the same as `hlf-sync sandbox`."""

from hlf_sync_sandbox.cli import app

app(prog_name="python -m sandbox")
