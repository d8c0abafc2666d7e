"""`python -m sandbox`: the same as `hlf-sync sandbox`."""

from sandbox.cli import app

app(prog_name="python -m sandbox")
