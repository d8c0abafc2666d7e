"""Logs: one JSON object a line on stdout, a readable form on a terminal; keys by allow-list,
libraries tamed.

Logging never stops the work: lines go to a thread that writes to the file descriptor itself, so a
reader that is stuck or gone blocks nobody, not even the end of the process. What does not fit is
dropped and counted (`hlf_sync_log_lines_dropped_total`). Set up by the command line for `run`.
"""

import logging
import os
import select
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

from hlf_sync.clock import epoch_ms
from hlf_sync.core.cause_words import WORDS
from hlf_sync.core.plain_text import plain

# What a line may say. Anything else is left out, so that nobody's name or secret gets in by
# accident.
ALLOWED = frozenset(
    """
    advice attempt_count attempt_number backlog certification_id columns committed correlation_id delay_ms delivery dependency detail duration_ms
    duration_s error_code exception failure_count generation high host http_status kind last_error_code letter_id low mentor_id mentors opened_at
    operation_type organization outcome partition partitions pid port reason request_id restarts rows schema_id signal
    stage subject table transaction_id triggered_by verdict wanted worker
    """.split()  # noqa: SIM905 - reads better than fifty quoted words
)

_QUEUE_LINES = 10_000
# Lines written with one system call when many wait.
_BATCH = 500
_LOOK_S = 0.5
# How long the first line waits for others, seconds: a thread that woke for every line would take
# turns with the event loop thousands of times a second.
_LINGER_S = 0.02


class Writer:
    """Writes lines in a thread of its own. `stream` may be None: a process without stdout."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream  # kept open as long as we are
        self._write = _writes(stream)
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._closing = threading.Event()
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def msg(self, line: str) -> None:
        """Write a line soon, or drop it when the reader is stuck."""
        if self._lines.qsize() < _QUEUE_LINES:
            self._lines.put(line)
        else:
            self.dropped += 1

    debug = info = warning = error = critical = msg

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what waits, but not for long."""
        self._closing.set()
        self._lines.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        is_open = True
        while is_open:
            first = self._lines.get()
            if self._lines.qsize() < _BATCH:
                self._closing.wait(_LINGER_S)
            lines = [first, *_waiting(self._lines, _BATCH)]
            is_open = None not in lines
            text = [line for line in lines if line is not None]
            if text and not self._write(
                "".join(f"{line}\n" for line in text), self._closing.is_set
            ):
                self.dropped += len(text)


class _Current:
    """What loggers, once made, keep: the writer in use at the moment, so that setting up anew
    reaches all of them.
    """

    def msg(self, line: str) -> None:
        """Hand on."""
        if _in_use:
            _in_use[-1].msg(line)

    debug = info = warning = error = critical = msg


_in_use: list[Writer] = []
_CURRENT = _Current()


def writer_in_use() -> Writer | None:
    """The process's writer, for the metric of lines dropped; None before `configure`."""
    return _in_use[-1] if _in_use else None


def arrange(_logger: WrappedLogger, level: str, event: EventDict) -> EventDict:
    """When, how bad, what; then the allowed keys, every other one is dropped. A library's code or class
    is told in words, too.
    """
    seconds, milliseconds = divmod(epoch_ms(), 1000)
    said: EventDict = {
        "timestamp": f"{_second(seconds)}.{milliseconds:03d}Z",
        "level": level,
        "event": event["event"],
    }
    for key, value in event.items():
        if key in ALLOWED and value is not None:
            said[key] = plain(value) if isinstance(value, str) else value
    words = WORDS.get(str(event.get("error_code")))
    if words is not None:
        said.setdefault("detail", words)
    return said


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def name_exception(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """An exception is told by type and place, never by its text, which may quote input."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event["exception"] = f"{type(error).__name__} at {_place(error)}"
    return event


def configure(level: str, stream: TextIO | None = None) -> Writer:
    """Set up logging for the process, to `stream` or stdout."""
    target = sys.stdout if stream is None else stream
    writer = Writer(target)
    _in_use[:] = [writer]
    renderer: Any = _for_people if target is not None and target.isatty() else _as_json
    structlog.configure(
        processors=[name_exception, arrange, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: _CURRENT,
        cache_logger_on_first_use=True,
    )
    # Libraries say nothing: their lines quote addresses, statements and headers. What matters of
    # it, the rooms say in our words.
    logging.captureWarnings(capture=True)
    logging.basicConfig(level=logging.CRITICAL, handlers=[logging.NullHandler()], force=True)
    threading.excepthook = _thread_ended
    return writer


def _as_json(_logger: WrappedLogger, _level: str, event: EventDict) -> str:
    return orjson.dumps(event, default=str).decode()


_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "31"}


def _for_people(_logger: WrappedLogger, level: str, event: EventDict) -> str:
    """One line that fits a terminal: time of day, level, what, and the rest as key=value."""
    when, said = event.pop("timestamp"), event.pop("event")
    event.pop("level")
    rest = "  ".join(f"\x1b[2m{key}\x1b[0m {_short(value)}" for key, value in event.items())
    return (
        f"\x1b[2m{when[11:23]}\x1b[0m \x1b[{_COLOURS.get(level, '0')}m{level:<7}\x1b[0m {said:<20}"
        f" {rest}".rstrip()
    )


def _short(value: object) -> str:
    """Numbers of partitions as ranges: 0-5, 7."""
    if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
        return str(value)
    runs: list[list[int]] = []
    for item in sorted(value):
        if runs and item == runs[-1][-1] + 1:
            runs[-1].append(item)
        else:
            runs.append([item])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _thread_ended(what: threading.ExceptHookArgs) -> None:
    structlog.get_logger().error(
        "thread_ended", detail=what.thread.name if what.thread else "", exc_info=what.exc_value
    )


def _waiting(lines: "SimpleQueue[str | None]", most: int) -> Iterable[str | None]:
    for _ in range(most):
        try:
            yield lines.get_nowait()
        except Empty:
            return


def _writes(stream: TextIO | None) -> Callable[[str, Callable[[], bool]], bool]:
    """How to write to this stream: past Python's buffers, whose locks would hold up the end of the
    process while a write is stuck.
    """
    try:
        number = None if stream is None else stream.fileno()
    except (OSError, ValueError):  # a stream in memory
        assert stream is not None  # noqa: S101 - None has no fileno to fail
        return lambda text, _is_closing: _write_stream(stream, text)
    if number is None:
        return lambda _text, _is_closing: False
    return lambda text, is_closing: _write_all(number, text.encode(), is_closing)


def _write_stream(stream: TextIO, text: str) -> bool:
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):
        return False
    return True


def _write_all(number: int, rest: bytes, is_closing: Callable[[], bool]) -> bool:
    """Write it all, however long that takes; False when the reader is gone, or is stuck while the
    process ends.
    """
    while rest:
        try:
            rest = rest[os.write(number, rest) :]
        except BlockingIOError:  # somebody made the pipe non-blocking
            while not select.select([], [number], [], _LOOK_S)[1]:
                if is_closing():
                    return False
        except OSError:
            return False
    return True


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    if trace is None:
        return "unknown"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
