"""What can go wrong in the sandbox, with what to do about it. Raised by all of `sandbox`, shown by
`hlf_sync_sandbox.cli` alone.
"""


class SandboxError(Exception):
    """`what` went wrong, `remedy` is the next step for the person in front of it; `exit_code` as in
    contract.md.
    """

    exit_code = 4

    def __init__(self, what: str, remedy: str = "", log_tail: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.log_tail = log_tail


class ArgumentError(SandboxError):
    """The caller asked for something that cannot be: nothing was started."""

    exit_code = 2


class DownloadError(SandboxError):
    """A jar could not be fetched, or is not the one of the lock file."""


class PartError(SandboxError):
    """A part did not start, died, or did not become healthy within its deadline."""

    def __init__(self, part: str, what: str, remedy: str = "", log_tail: str = "") -> None:
        super().__init__(f"{part}: {what}", remedy, log_tail)
        self.part = part


class StoppedError(Exception):
    """Someone pressed Ctrl-C (or another part failed) while this part was still starting."""
