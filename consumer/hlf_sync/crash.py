"""What is told of an exception that nobody expected: its type and the way to it, never its text,
which may quote a row, an address or a secret.

Used by the entry point, for every command. Our own exceptions may say their text: they hold to
errors.py's rule. Must not import anything heavy.
"""

import logging
import sys
import threading
from collections.abc import Iterator
from traceback import extract_tb

from hlf_sync.core.plain_text import plain
from hlf_sync.errors import HlfSyncError

_MOST_FRAMES = 12


def told(error: BaseException) -> list[str]:
    """The lines for stderr, the innermost frame last; what caused it below."""
    return [
        "a bug: " + _name(error),
        *_way(error),
        "the text is left out: it may quote a person or a secret",
    ]


def tame() -> None:
    """Make the interpreter and libraries tell what nobody catches in the same way: in threads,
    while something is deleted, in asyncio's own log.
    """
    sys.excepthook = lambda _kind, error, _trace: _print(error)
    threading.excepthook = lambda what: (
        _print(what.exc_value) if what.exc_value is not None else None
    )
    sys.unraisablehook = lambda what: _print(what.exc_value) if what.exc_value is not None else None
    logging.basicConfig(level=logging.CRITICAL, handlers=[logging.NullHandler()])


def _print(error: BaseException) -> None:
    for line in told(error):
        print(line, file=sys.stderr)  # noqa: T201 - what is left when all else has failed


def _way(error: BaseException) -> Iterator[str]:
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        if now is not error:
            yield f"  after {_name(now)}"
        for frame in extract_tb(now.__traceback__)[-_MOST_FRAMES:]:
            yield f"  {'/'.join(frame.filename.split('/')[-3:])}:{frame.lineno} {frame.name}"
        for one in getattr(now, "exceptions", ()):  # a group
            yield f"  one of them {_name(one)}"
            yield from _way(one)
        now = now.__cause__ or (None if now.__suppress_context__ else now.__context__)


def _name(error: BaseException) -> str:
    kind = type(error)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return plain(f"{name}: {error}") if isinstance(error, HlfSyncError) else name
