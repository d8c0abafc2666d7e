"""Entry point of the command `hlf-sync`. A user's mistake is one line and an exit code, never a stack trace."""

import sys

from rich.console import Console

from consumer.errors import DependencyError, HaltError, SettingsError


def main() -> None:
    """Run the command line; exit codes are contract.md's."""
    error_console = Console(stderr=True, soft_wrap=True)
    try:
        from consumer.cli import app  # noqa: PLC0415 - so that an interrupt while importing is clean too

        app()
    except SettingsError as error:
        error_console.print(f"[red]hlf-sync:[/red] {error}", highlight=False)
        sys.exit(2)
    except DependencyError as error:
        error_console.print(f"[red]hlf-sync:[/red] {error}", highlight=False)
        sys.exit(4)
    except HaltError as error:
        error_console.print(f"[red]hlf-sync:[/red] {error}", highlight=False)
        sys.exit(3)
    except KeyboardInterrupt:
        error_console.print("interrupted")
        sys.exit(130)


if __name__ == "__main__":
    main()
