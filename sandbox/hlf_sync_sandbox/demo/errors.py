"""What ends the demo early. Raised by all of `hlf_sync_sandbox.demo`, shown by
`hlf_sync_sandbox.demo.cli` alone.
"""

from hlf_sync_sandbox.errors import SandboxError


class StoryError(SandboxError):
    """Something that the story promises did not happen: the demo failed."""

    exit_code = 1


class WorkerError(SandboxError):
    """The worker did not start, or ended in the middle."""
