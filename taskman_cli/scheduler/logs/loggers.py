"""The loggers: those of the standard library below `taskman`, one for each part.

Who embeds the scheduler can send them anywhere; nothing is printed unless a handler is added.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from taskman_cli.core.logsettings import LogLevel, LogPart
from taskman_cli.scheduler.logs.fields import make_safe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from taskman_cli.scheduler.logs.handler import LineHandler

#: The level between info and warning: starts, stops and reloads. 25 is free in the standard library.
NOTICE = 25
logging.addLevelName(NOTICE, "NOTICE")

#: The numbers of the standard library.
LEVELS = {level: NOTICE if level is LogLevel.NOTICE else getattr(logging, level.name) for level in LogLevel}

#: Takes records in the place of the handlers, which may be slow.
_taker: Callable[[logging.LogRecord], None] | None = None


class _PartLogger(logging.Logger):
    """A logger whose records may be diverted from its handlers."""

    def callHandlers(self, record: logging.LogRecord) -> None:
        """Pass a record on, with nothing in it that could harm a terminal or forge a line."""
        make_safe(record)
        if _taker is None:
            super().callHandlers(record)
        else:
            _taker(record)


def divert(taker: Callable[[logging.LogRecord], None] | None) -> None:
    """Have this take all records of our loggers; None: their handlers do."""
    global _taker
    _taker = taker


def _logger(name: str) -> logging.Logger:
    found = logging.getLogger(name)
    if type(found) is logging.Logger:  # it may be older than this module
        found.__class__ = _PartLogger
    return found


ROOT = _logger("taskman")


def keep_quiet() -> None:
    """Have nothing printed where a program that embeds the scheduler adds no handler."""
    if not any(isinstance(handler, logging.NullHandler) for handler in ROOT.handlers):
        ROOT.addHandler(logging.NullHandler())


keep_quiet()
_LOGGERS = {part: _logger(f"taskman.{part}") for part in LogPart}


def logger_of(part: LogPart) -> logging.Logger:
    """Return the logger of a part."""
    return _LOGGERS[part]


#: The most used ones.
logger = logger_of(LogPart.SCHEDULER)
run_log = logger_of(LogPart.RUNS)
job_log = logger_of(LogPart.JOBS)
ledger_log = logger_of(LogPart.LEDGER)
sink_log = logger_of(LogPart.SINKS)

_NONE: Mapping[str, Any] = {}

#: Our own handler, if it is the one.
_handler: LineHandler[Any] | None = None


def use(handler: LineHandler[Any] | None) -> None:
    """Have lines written by this handler; None: by whatever else there is."""
    global _handler
    if _handler is not None:
        ROOT.removeHandler(_handler)
    _handler = handler
    if handler is not None:
        ROOT.addHandler(handler)


def tell(
    to: logging.Logger, level: int, message: str, fields: Mapping[str, Any] | Callable[[], Mapping[str, Any]]
) -> None:
    """Log a message with fields, which may be a function that makes them, if the level is enabled."""
    if to.isEnabledFor(level):
        pass_on(to, level, message, fields)


def pass_on(
    to: logging.Logger, level: int, message: str, fields: Mapping[str, Any] | Callable[[], Mapping[str, Any]]
) -> None:
    """Log a message whose level is enabled.

    It becomes a log record only if something but our own handler may see it: that takes longer to make than
    all the rest of a line.
    """
    handler = _handler
    if (
        handler is not None
        and not (to.handlers or to.filters or ROOT.filters or handler.filters)
        and len(ROOT.handlers) == 2  # it, and the NullHandler
        and not (ROOT.propagate and logging.root.handlers)
    ):
        if not handler.form.has_fields:
            handler.put_message(level, to.name, message, _NONE)
        else:
            handler.put_message(level, to.name, message, fields() if callable(fields) else fields)
    else:
        to.log(level, "%s", message, extra=fields() if callable(fields) else fields, stacklevel=3)


def notice(to: logging.Logger, message: str, **fields: Any) -> None:
    """Log what a person likes to know, and need not do anything about."""
    tell(to, NOTICE, message, fields)


def log_said(level: Any, words: Any, event: Any, wall_ns: Any, *_: Any) -> None:
    """Log what the supervisor has left to this process, at the time when it said it."""
    to = logger_of(LogPart.SUPERVISOR)
    if not (isinstance(level, int) and isinstance(wall_ns, int) and to.isEnabledFor(level)):
        return
    fields = {"event": event} if event else {}
    record = to.makeRecord(to.name, level, "", 0, "%s", (str(words),), None, extra=fields)
    record.created = wall_ns / 1e9
    record.msecs = wall_ns // 1_000_000 % 1000
    to.handle(record)


_SOURCE = logging._srcfile


def skip_what_no_line_shows(*, is_skipped: bool = True) -> None:
    """Create log records without source line, thread and process (logging HOWTO, "Optimization")."""
    logging._srcfile = None if is_skipped else _SOURCE
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = not is_skipped
