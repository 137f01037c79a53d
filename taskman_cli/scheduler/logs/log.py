"""The log as the scheduler has it: where lines go, in which form, and from which level on.

What the command line says wins over the job file.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from taskman_cli.core.escapes import printable
from taskman_cli.core.logsettings import USUAL, LogFormat, LogLevel, LogPart, LogSettings
from taskman_cli.errors import TaskmanError
from taskman_cli.jobfile.timeout import ReadTimeout, run_with_timeout
from taskman_cli.scheduler.logs.forms import (
    JournalForm,
    JsonFormatter,
    PriorityFormatter,
    TextFormatter,
)
from taskman_cli.scheduler.logs.handler import LineHandler, Waiting
from taskman_cli.scheduler.logs.loggers import (
    LEVELS,
    NOTICE,
    ROOT,
    logger,
    logger_of,
    notice,
    skip_what_no_line_shows,
    tell,
    use,
)
from taskman_cli.scheduler.logs.writers import JournalWriter, StderrWriter, ViewWriter
from taskman_cli.supervisor.journald import leads_to_journald

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import tzinfo
    from enum import StrEnum

    from taskman_cli.core.logsettings import LogConfig
    from taskman_cli.scheduler.logs.own import OwnConfig
    from taskman_cli.scheduler.options import Options
    from taskman_cli.ui.live import LiveView

_STDERR = 2
#: How long the handlers of a configuration of the user's own may take to be made.
_MAKE_S = 5.0
#: How many handlers are waited for at the end: the last one, and those that it took over from.
_MOST_LEFT = 2
_Kind = TypeVar("_Kind", bound="StrEnum")


class Log:
    """Gives the loggers their handler and their levels, and changes them at a reload."""

    def __init__(self, options: Options, read_clock: Callable[[], float]) -> None:
        """`read_clock` is the clock that logging uses (`time.time`)."""
        self._options = options
        self._read_clock = read_clock
        self._settings = LogSettings()
        self._timezone: tzinfo | None = None
        self._view: LiveView | None = None
        self._is_viewed = False
        self._handler: LineHandler[Any] | None = None
        #: The configuration of the user's own that is in force, and one that was made for the next reload.
        self._own: OwnConfig | None = None
        self._made: tuple[LogConfig, OwnConfig] | None = None
        #: All that lines have waited in so far.
        self._waitings: list[Waiting[Any]] = []
        #: Called when the levels may have changed.
        self.followers: list[Callable[[], None]] = []
        skip_what_no_line_shows()
        self._set_handler()
        self._set_levels()

    # --- what it is like ---

    @property
    def form(self) -> LogFormat:
        """Return the form of lines; `TEXT` where `AUTO` finds no journal."""
        form = _known(LogFormat, self._options.log_format) or self._settings.format
        if form is not LogFormat.AUTO:
            return form
        return LogFormat.JOURNALD if leads_to_journald(_STDERR, os.environ) else LogFormat.TEXT

    @property
    def _is_above_view(self) -> bool:
        return self._view is not None and self.form is LogFormat.TEXT

    def _handler_now(self) -> LineHandler[Any]:
        form, clock = self.form, self._read_clock
        if self._view is not None and form is LogFormat.TEXT:
            return LineHandler(TextFormatter(self._timezone), ViewWriter(self._view).write, clock)
        if form is LogFormat.JOURNALD:
            plain = self._plain_form()
            writer = JournalWriter(lambda words: plain.make(clock(), logging.WARNING, logger.name, words, {}))
            return LineHandler(JournalForm(plain), writer.write, clock, writer.close)
        if form is LogFormat.JSON:
            return LineHandler(JsonFormatter(self._timezone), StderrWriter().write, clock)
        return LineHandler(self._plain_form(), StderrWriter().write, clock)

    def _plain_form(self) -> PriorityFormatter | TextFormatter:
        if leads_to_journald(_STDERR, os.environ):  # which adds the time
            return PriorityFormatter()
        return TextFormatter(self._timezone, is_colourful=_is_colourful())

    def _set_handler(self) -> None:
        before, self._handler = self._handler, self._handler_now()
        use(self._handler)
        self._waitings.append(self._handler.waiting)
        if before is not None:
            before.retire()

    def _set_levels(self) -> None:
        told = _known(LogLevel, self._options.level)
        if self._own is not None:
            if told:
                ROOT.setLevel(LEVELS[told])
            self._tell_followers()
            return
        settings = USUAL if told or self._options.is_quiet else self._settings
        given = told or settings.level
        ROOT.setLevel(LEVELS[given] if given else self._usual_level)
        own = dict(settings.levels)
        for part in LogPart:
            logger_of(part).setLevel(LEVELS[own[part]] if part in own else logging.NOTSET)
        self._tell_followers()

    def _tell_followers(self) -> None:
        for follow in self.followers:
            follow()

    @property
    def _is_told_form(self) -> bool:
        """Tell if the command line names a form, which wins over a configuration too."""
        return _known(LogFormat, self._options.log_format) is not None

    @property
    def _usual_level(self) -> int:
        if self._is_above_view and self._is_viewed:
            return logging.CRITICAL  # the view shows the rest
        if self._options.is_quiet:
            return logging.WARNING
        # In the place of a view that would show results, each has a line.
        return logging.INFO if self._is_above_view else NOTICE

    # --- what changes it ---

    def begin(self, settings: LogSettings, timezone: tzinfo, *, is_first: bool) -> None:
        """Take what the job files say.

        Raises TaskmanError if this is the first scheduler and a configuration of the user's own cannot be
        applied. A later one must not be kept from its jobs by that.
        """
        self._settings, self._timezone = settings, timezone
        trouble = ""
        try:
            self.prepare(settings)
            self._install()
        except TaskmanError as error:
            if is_first:
                raise
            trouble = str(error)
        if self._own is None:
            self._set_handler()
        self._set_levels()
        if trouble:
            logger.error("[logging] config is left aside: %s", trouble)

    def prepare(self, settings: LogSettings) -> None:
        """Make the handlers of a configuration of the user's own, in any thread. Raises TaskmanError."""
        self.drop_prepared()
        config = settings.config
        if config is None or self._is_told_form or (self._own and config == self._settings.config):
            return
        # Only here: few have one, and the standard library's part for it is large.
        from taskman_cli.scheduler.logs.own import OwnConfig

        path, is_late = Path(config.path), threading.Event()

        def make() -> OwnConfig:
            made = OwnConfig(config)
            if is_late.is_set():  # nobody takes it any more
                made.close()
            return made

        try:
            made = run_with_timeout(make, lambda: path, timeout_s=_MAKE_S)
        except ReadTimeout:
            is_late.set()
            raise TaskmanError(
                f"{path}: its handlers cannot be made: a file or an address that it names does not answer "
                f"within {_MAKE_S:g} s"
            ) from None
        self._made = config, made

    def drop_prepared(self) -> None:
        """Close what `prepare` has made: the files that asked for it are not taken."""
        made, self._made = self._made, None
        if made:
            made[1].close()

    def _install(self) -> None:
        """Put in force what `prepare` has made. Raises BadConfig, and then nothing has changed."""
        made, self._made = self._made, None
        if made is None:
            return
        before, self._own = self._own, None
        if before:
            before.remove()
        use(None)
        for one in (ROOT, *map(logger_of, LogPart)):  # the configuration says which levels there are
            one.setLevel(logging.NOTSET)
        try:
            made[1].install()
        except TaskmanError:
            if before:
                before.install()
                self._own = before
            else:
                use(self._handler)
            raise
        self._own = made[1]
        if self._own.waiting is not None:
            self._waitings.append(self._own.waiting)
        skip_what_no_line_shows(is_skipped=False)
        if self._handler is not None:
            self._handler.retire()
            self._handler = None

    def take(self, settings: LogSettings) -> None:
        """Take what the job files say after a reload, for which it was prepared. Raises BadConfig."""
        before = self._settings
        if before == settings:
            return
        self._install()
        self._settings = settings
        if self._own and (settings.config is None or self._is_told_form):
            self._own.remove()
            self._own = None
            skip_what_no_line_shows()
            self._set_handler()
        elif self._own is None and before.format is not settings.format:
            self._set_handler()
        self._set_levels()
        what = settings.config.path if self._own and settings.config else _in_words(self.form, settings)
        notice(logger, f"the log has changed: {what}")

    @property
    def needs_terminal(self) -> bool:
        """Tell if JSON lines go to the terminal, so that a view cannot be drawn there."""
        is_json = self._own is None and self.form is LogFormat.JSON
        return is_json and sys.stderr is not None and sys.stderr.isatty()

    def take_view(self, view: LiveView) -> None:
        """Show text above this view from now on."""
        self._view, self._is_viewed = view, True
        if self._own is None:
            self._set_handler()
        self._set_levels()

    def leave_view(self) -> None:
        """Have the lines that wait shown above the view, which ends, and write the rest to standard error."""
        if self._view is not None:
            if self._handler is not None:
                self._handler.close()
            self._view = self._handler = None
            if self._own is None:
                self._set_handler()

    def greet(self, lines: Sequence[str]) -> None:
        """Say what a person at the terminal needs first, above the view too."""
        for line in lines:
            if self._view is not None and self._is_above_view:
                self._view.print(line)
            else:
                notice(logger, line)

    def for_supervisor(self) -> dict[str, Any]:
        """Return what the supervisor is told of the log, since it says some things itself."""
        told = _known(LogLevel, self._options.level)
        settings = USUAL if told or self._options.is_quiet else self._settings
        level = told or dict(settings.levels).get(LogPart.SUPERVISOR) or settings.level
        usual = logging.WARNING if self._options.is_quiet else NOTICE
        if self._own is not None:
            return {"log_format": "own", "log_level": logger_of(LogPart.SUPERVISOR).getEffectiveLevel()}
        return {"log_format": self.form.value, "log_level": LEVELS[level] if level else usual}

    def show_view(self, is_shown: bool) -> None:
        """Take note whether the live view is on the terminal: while it is not, lines take its place."""
        self._is_viewed = is_shown
        self._set_levels()

    def report(self, words: str, level: int = logging.ERROR) -> None:
        """Say what has lines of its own, such as the errors of a job file: as it is where people read it."""
        handler = self._handler
        if handler is not None and isinstance(handler.form, TextFormatter):
            for line in printable(words, kept="\n\t").split("\n"):
                handler.waiting.put(line)
        elif self._own is not None:
            for line in words.split("\n"):
                tell(logger, level, line.removeprefix("taskman: "), {})
        else:
            tell(logger, level, words.removeprefix("taskman: "), {})

    # --- what it is at ---

    @property
    def depth(self) -> int:
        """Return how many lines wait to be written."""
        return self._waiting.depth if self._waiting else 0

    @property
    def _waiting(self) -> Waiting[Any] | None:
        if self._own is not None:
            return self._own.waiting
        return self._handler.waiting if self._handler else None

    @property
    def high_water(self) -> int:
        """Return the most lines that ever waited."""
        return max(waiting.high_water for waiting in self._waitings)

    @property
    def dropped(self) -> int:
        """Return how many lines were dropped because nobody read them."""
        return sum(waiting.dropped for waiting in self._waitings)

    def close(self) -> None:
        """Write the lines that wait, for a limited time."""
        use(None)
        self.drop_prepared()
        if self._own is not None:
            self._own.remove()
        # A reload may have left some a moment ago.
        for waiting in self._waitings[-_MOST_LEFT:]:
            waiting.close()
        self._handler = self._own = None


def _known(kind: type[_Kind], value: str | None) -> _Kind | None:
    """Return a value of the command line; None if it is not given, or only another version knows it."""
    return next((member for member in kind if member.value == value), None)


def _is_colourful() -> bool:
    """Tell if standard error is a terminal that shows colours."""
    stream = sys.stderr
    is_terminal = stream is not None and stream.isatty()
    return is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in (None, "dumb")


def _in_words(form: LogFormat, settings: LogSettings) -> str:
    levels = [f"{part} {level}" for part, level in settings.levels]
    return ", ".join([f"format {form}", f"level {settings.level or 'as usual'}", *levels])
