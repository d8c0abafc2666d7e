"""Entry point of the command `hlf-sync`. A user's mistake is one line and an exit code, never a
stack trace.
"""

import sys

from hlf_sync import collector, early_stop

early_stop.stop_cleanly()
collector.rest()

from hlf_sync import crash  # noqa: E402 - a signal may come while this is imported
from hlf_sync.core.ending import Exit  # noqa: E402 - as above
from hlf_sync.errors import (  # noqa: E402 - as above
    DependencyError,
    HaltError,
    HlfSyncError,
    SettingsError,
)

_CODES: dict[type[HlfSyncError], Exit] = {
    SettingsError: Exit.REFUSED,
    HaltError: Exit.HALTED,
    DependencyError: Exit.UNREACHABLE,
}


def main() -> None:
    """Run the command line; exit codes are core/ending.py's."""
    crash.tame()
    try:
        from hlf_sync.commands.app import (  # noqa: PLC0415 - so that an interrupt while importing is clean too
            app,
        )

        app()
    except (SettingsError, DependencyError, HaltError) as error:
        _say(str(error))
        sys.exit(next(code for kind, code in _CODES.items() if isinstance(error, kind)))
    except SystemExit as end:
        if _was_interrupted(end):
            print("interrupted", file=sys.stderr)  # noqa: T201 - as below
        raise
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201 - the console may not be imported yet
        sys.exit(Exit.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the outermost place: a bug ends the process, and must be loud
        print("hlf-sync:", *crash.told(error), sep="\n", file=sys.stderr)  # noqa: T201 - whatever is broken, this works
        sys.exit(Exit.BUG)


def _was_interrupted(end: SystemExit) -> bool:
    """Whether this is how the command line's library ends at Ctrl-C: with our code, and in silence."""
    cause = end.__context__
    return cause is not None and isinstance(cause.__cause__, KeyboardInterrupt)


def _say(line: str) -> None:
    from hlf_sync.commands.options import said  # noqa: PLC0415 - as above
    from hlf_sync.commands.terminal import Terminal  # noqa: PLC0415 - as above

    Terminal(stderr=True, soft_wrap=True).print(said(line, "red"))


if __name__ == "__main__":
    main()
