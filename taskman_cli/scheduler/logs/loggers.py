"""The loggers: those of the standard library below `taskman`, one for each part.

Who embeds the scheduler can send them anywhere; nothing is printed unless a handler is added.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from taskman_cli.core.logsettings import LogLevel, LogPart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.scheduler.logs.handler import LineHandler

#: The level between info and warning: starts, stops and reloads. 25 is free in the standard library.
NOTICE = 25
logging.addLevelName(NOTICE, "NOTICE")

#: The numbers of the standard library.
LEVELS = {level: NOTICE if level is LogLevel.NOTICE else getattr(logging, level.name) for level in LogLevel}

ROOT = logging.getLogger("taskman")
if not ROOT.handlers:
    ROOT.addHandler(logging.NullHandler())


def logger_of(part: LogPart) -> logging.Logger:
    """Return the logger of a part."""
    return ROOT.getChild(part.value)


#: The most used ones.
logger = logger_of(LogPart.SCHEDULER)
run_log = logger_of(LogPart.RUNS)
job_log = logger_of(LogPart.JOBS)
ledger_log = logger_of(LogPart.LEDGER)

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


def tell(to: logging.Logger, level: int, message: str, fields: Mapping[str, Any]) -> None:
    """Log a message with fields; as a log record only if something but our own handler may see it.

    A record takes longer to make than all the rest of a line.
    """
    if not to.isEnabledFor(level):
        return
    handler = _handler
    if (
        handler is not None
        and not (to.handlers or to.filters or ROOT.filters or handler.filters)
        and len(ROOT.handlers) == 2  # it, and the NullHandler
        and not (ROOT.propagate and logging.root.handlers)
    ):
        handler.put_message(level, to.name, message, fields)
    else:
        to.log(level, "%s", message, extra=fields, stacklevel=2)


def notice(to: logging.Logger, message: str, **fields: Any) -> None:
    """Log what a person likes to know, and need not do anything about."""
    tell(to, NOTICE, message, fields)


def skip_what_no_line_shows() -> None:
    """Create log records without source line, thread and process (logging HOWTO, "Optimization")."""
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
