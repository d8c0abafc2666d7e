"""One worker process: how it begins, what runs in it beside the stages, and how it ends."""
