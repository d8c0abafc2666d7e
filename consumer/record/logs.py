"""Logs: structlog, one JSON object a line on stdout, a readable form on a terminal; keys by allow-list, libraries tamed.

Logging never stops the work: lines go through a bounded queue to a thread, and what does not fit is dropped and counted.
"""

import logging
import sys
from queue import Full, Queue
from threading import Thread
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

# What a line may say. Anything else is left out, so that nobody's name or secret gets in by accident.
ALLOWED = frozenset(
    """
    event level timestamp attempt_number backlog certification_id circuit committed correlation_id count delay_ms dependency
    detail duration_ms duration_s error_code failure_count generation high http_status kind last_error_code letter_id low
    mentor_id mentors opened_at operation_type outcome partition partitions port reason schema_id signal since table topic
    transaction_id version worker exception columns setting url_host dropped
    """.split()  # noqa: SIM905 - reads better than forty quoted words
)

_QUEUE_LINES = 10_000


class Writer:
    """Writes lines in a thread of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: Queue[str | None] = Queue(_QUEUE_LINES)
        self.dropped = 0
        self._thread = Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def msg(self, line: str) -> None:
        """Write a line soon, or drop it when the reader is stuck."""
        try:
            self._lines.put_nowait(line)
        except Full:
            self.dropped += 1

    debug = info = warning = error = critical = msg

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what waits, but not for long."""
        try:
            self._lines.put(None, timeout=timeout_s)
        except Full:
            return
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(line + "\n")
                if self._lines.empty():
                    self._stream.flush()
            except (OSError, ValueError):  # the reader is gone; work goes on
                self.dropped += 1


def keep_allowed(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Drop every key that is not on the list."""
    return {key: value for key, value in event.items() if key in ALLOWED}


def name_exception(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """An exception is told by type and place, never by its text, which may quote input."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event["exception"] = f"{type(error).__name__} at {_place(error)}"
    return event


def configure(level: str, stream: TextIO = sys.stdout) -> Writer:
    """Set up logging for the process."""
    writer = Writer(stream)
    renderer: Any = structlog.dev.ConsoleRenderer() if stream.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            name_exception,
            keep_allowed,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.CRITICAL, handlers=[logging.NullHandler()], force=True)
    return writer


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    if trace is None:
        return "unknown"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
