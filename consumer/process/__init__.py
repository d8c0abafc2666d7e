"""How a worker process begins, what runs in it beside the stages, and how it ends."""
