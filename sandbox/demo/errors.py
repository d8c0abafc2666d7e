"""What ends the demo early. Raised by all of `sandbox.demo`, shown by `sandbox.demo.cli` alone."""

from sandbox.errors import SandboxError


class StoryError(SandboxError):
    """Something that the story promises did not happen: the demo failed."""

    exit_code = 1


class WorkerError(SandboxError):
    """The worker did not start, or ended in the middle."""
