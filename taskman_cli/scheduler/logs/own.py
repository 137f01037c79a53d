"""A configuration of the user's own for the standard library's `logging`, which takes over whole.

Its handlers are made in any thread, since that may open files on a disk that hangs, and are called in the
thread of the log, since they may take their time.
"""

from __future__ import annotations

import json
import logging
import logging.config
import logging.handlers
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable, quoted
from taskman_cli.core.logsettings import LogPart
from taskman_cli.errors import EXIT_USAGE, TaskmanError
from taskman_cli.scheduler.logs.forms import TextFormatter
from taskman_cli.scheduler.logs.handler import Waiting, dropped_in_words
from taskman_cli.scheduler.logs.loggers import ROOT, divert, keep_quiet, logger, logger_of
from taskman_cli.scheduler.logs.writers import StderrWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.core.logsettings import LogConfig


class BadConfig(TaskmanError):
    """The configuration cannot be applied: a class, a file or an address is not as it needs them."""

    exit_code = EXIT_USAGE

    def __init__(self, config: LogConfig, where: str, error: BaseException) -> None:
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        words = str(cause) or type(cause).__name__
        if isinstance(cause, OSError) and cause.strerror:
            words = cause.strerror.lower() + (f": {cause.filename}" if cause.filename else "")
        elif isinstance(cause, KeyError):
            words = f"{words} is missing"
        line = dict(config.lines).get(where)
        place = config.path if line is None else f"{config.path}:{line}"
        super().__init__(printable(f"{place}: {where}: {words}"))

    def render(self) -> str:
        """Return the error alone, as those of job files."""
        return str(self)


class OwnConfig:
    """The handlers of a configuration, which nothing logs to before `install`."""

    def __init__(self, config: LogConfig) -> None:
        """Make formatters, filters and handlers. Raises BadConfig, and leaves nothing behind."""
        self._config = config
        self._configurator: Any = logging.config.dictConfigClass(json.loads(config.text))
        self._handlers: list[logging.Handler] = []
        self._failing: set[logging.Handler] = set()
        #: By the name of a logger; kept, since they write what waits when another configuration is in force.
        self._found: dict[str, list[logging.Handler]] = {}
        self._plain, self._stderr = TextFormatter(), StderrWriter()
        self.waiting: Waiting[logging.LogRecord] | None = None
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def _make(self) -> None:
        one = self._configurator
        for kind, make in (("formatters", one.configure_formatter), ("filters", one.configure_filter)):
            made = one.config.get(kind, {})
            for name in made:
                made[name] = self._try(f"{kind}.{name}", make, made[name])
        handlers = one.config.get("handlers", {})
        # A handler may refer to another: those that do come last.
        for name in sorted(handlers, key=lambda name: ("target" in handlers[name], name)):
            handler = self._try(f"handlers.{name}", one.configure_handler, handlers[name])
            handler.name = name
            handlers[name] = handler
            self._handlers.append(handler)

    def _try(self, where: str, make: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return make(*arguments)
        except Exception as error:  # whatever a class of the user's raises
            raise BadConfig(self._config, where, error) from error

    def install(self) -> None:
        """Have records go to its handlers. Raises BadConfig, and is then not installed."""
        one = self._configurator
        try:
            for name, table in one.config.get("loggers", {}).items():
                self._try(f"loggers.{name}", one.configure_logger, name, table)
            if "root" in one.config:
                self._try("root", one.configure_root, one.config["root"])
        except BadConfig:
            self._take_from_loggers()
            self.close()
            raise
        for part in (ROOT, *map(logger_of, LogPart)):
            self._found[part.name] = _handlers_of(part)
        logging.raiseExceptions = False  # a traceback on standard error for each line helps nobody
        for handler in self._handlers:
            vars(handler)["handleError"] = partial(self._complain, handler)
        self.waiting = Waiting(self._hand_out, self._report, finish=self.close)
        divert(self.waiting.put)

    def remove(self) -> None:
        """Let the loggers be as before. What waits is still written, and then the handlers are closed."""
        divert(None)
        self._take_from_loggers()
        if self.waiting is not None:
            self.waiting.end()

    def _take_from_loggers(self) -> None:
        named = map(logging.getLogger, self._configurator.config.get("loggers", {}))
        for one in (logging.root, ROOT, *map(logger_of, LogPart), *named):
            for handler in [handler for handler in one.handlers if handler in self._handlers]:
                one.removeHandler(handler)
            one.filters.clear()
            one.propagate = True
            one.setLevel(logging.WARNING if one is logging.root else logging.NOTSET)
        keep_quiet()

    def close(self) -> None:
        """Close the handlers."""
        for handler in self._handlers:
            with suppress(Exception):  # a handler of the user's
                handler.close()

    def _hand_out(self, records: list[logging.LogRecord]) -> None:
        """Call the handlers that the loggers of records have."""
        for record in records:
            for handler in self._found.get(record.name, ()):
                if record.levelno >= handler.level:
                    try:
                        handler.handle(record)
                    except Exception:  # most handlers call `handleError` themselves
                        self._complain(handler, record)

    def _report(self, count: int, why: str) -> logging.LogRecord:
        fields = {"event": "dropped", "count": count}
        words = dropped_in_words(count, why)
        return logger.makeRecord(logger.name, logging.WARNING, "", 0, words, (), None, extra=fields)

    def _complain(self, handler: logging.Handler, record: logging.LogRecord) -> None:
        """Say once that a handler fails; `record` is a line that it did not take."""
        error = sys.exc_info()[1]
        with suppress(Exception):
            type(handler).handleError(handler, record)  # as a socket is closed, to be opened again
        if handler in self._failing:
            return
        self._failing.add(handler)
        words = f"the log handler {quoted(str(handler.name))} fails: {type(error).__name__}: {error}"
        with suppress(OSError, ValueError):
            self._stderr.write([self._plain.make(record.created, logging.ERROR, logger.name, words, {})])


def _handlers_of(one: logging.Logger) -> list[logging.Handler]:
    """Return the handlers that get the records of a logger, as `Logger.callHandlers` finds them."""
    found = list(one.handlers)
    above: logging.Logger | None = one
    while above is not None and above.propagate and above.parent is not None:
        above = above.parent
        found += above.handlers
    return found
