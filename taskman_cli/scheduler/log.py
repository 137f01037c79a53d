"""The log: records of the engine as messages, and a handler that never delays the loop.

Everything goes through the logger `taskman` of the standard library, so a program that embeds the scheduler
can send it anywhere. Levels: debug for what goes as planned and is followed by another record, info for each
good end, warning for what may need attention, error for what does.
"""

from __future__ import annotations

import logging
import queue
import signal
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS, wall_time
from taskman_cli.core.engine import effects
from taskman_cli.core.engine.answers import MOST_NAMED, changes_in_words
from taskman_cli.core.escapes import visible
from taskman_cli.core.model import GATE, SkipReason, State
from taskman_cli.core.sizes import format_size
from taskman_cli.core.timespec import format_duration, format_rough

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

logger = logging.getLogger("taskman")

#: Lines that wait for a slow terminal or pipe; more are dropped and counted.
_MAX_WAITING = 10_000
#: CPU time and memory are logged only for commands that used at least this much CPU time.
_MIN_CPU_S = 0.1
#: How long a line waits for others, to be written together.
_GATHER_S = 0.02
#: How long the last lines may take when the program ends.
_CLOSE_S = 2.0


class LineHandler(logging.Handler):
    """Passes lines to a function in its own thread, so that a pipe that nobody reads delays no start.

    The thread waits a moment for more lines, so that a burst costs few wakeups and writes. It only writes: a
    thread that computes would hold the interpreter lock that the loop needs.
    """

    def __init__(
        self, write: Callable[[list[str]], None], read_clock: Callable[[], float] | None = None
    ) -> None:
        """Take what writes lines, and for `put_message` the clock that logging uses (`time.time`)."""
        super().__init__()
        self._write = write
        self._read_clock = read_clock
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._dropped = 0
        self._is_closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._start_thread()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._run, name="log", daemon=True)
        with suppress(RuntimeError):  # no thread can be started: the next line tries again
            thread.start()
            self._thread = thread

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line of a record, unless too many wait."""
        self._put(self.format(record))

    def put_message(self, level: int, message: str) -> bool:
        """Do the same for a message; return False if it needs a record, which takes longer to make."""
        formatter = self.formatter
        if self._read_clock is None or self.filters or not isinstance(formatter, LineFormatter):
            return False
        if level >= self.level:
            self._put(formatter.line(self._read_clock(), level, message))
        return True

    def _put(self, line: str) -> None:
        if self._thread is None:
            self._start_thread()
        if self._waiting.qsize() >= _MAX_WAITING:
            self._dropped += 1
            return
        if self._dropped:
            self._waiting.put(f"{self._dropped} lines dropped: the log was not read fast enough")
            self._dropped = 0
        self._waiting.put(line)

    def close(self) -> None:
        """Write the waiting lines, for a limited time, and end the thread."""
        self._is_closing.set()
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join(_CLOSE_S)
        else:  # no thread could ever be started
            self._run()
        super().close()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            self._is_closing.wait(_GATHER_S)
            found = [first, *(self._waiting.get() for _ in range(self._waiting.qsize()))]
            try:
                self._write([line for line in found if line is not None])
            except (OSError, ValueError):
                return  # the reader is gone
            if found[-1] is None:
                return


def skip_what_no_line_shows() -> None:
    """Create log records without source line, thread and process (logging HOWTO, "Optimization")."""
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


class LineFormatter(logging.Formatter):
    """`2026-11-24T04:06:44+01:00 info  message`, in a given zone."""

    def __init__(self, timezone: tzinfo) -> None:
        super().__init__()
        self._timezone = timezone
        #: The last second and its text: many lines fall into one second.
        self._second, self._moment = -1, ""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line."""
        line = self.line(record.created, record.levelno, record.getMessage())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line

    def line(self, created_s: float, level: int, message: str) -> str:
        """Write a message as one line."""
        second = int(created_s)
        if second != self._second:
            self._second = second
            self._moment = datetime.fromtimestamp(second, self._timezone).isoformat()
        if not message.isprintable():
            message = message.translate(_ONE_LINE)
        name = _LEVEL_NAMES.get(level) or logging.getLevelName(level).lower()
        return f"{self._moment} {name} {message}"


_LEVEL_NAMES = {
    level: f"{logging.getLevelName(level).lower():<7}"
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
}

#: Control characters in a command or message must not forge lines or move the cursor.
_ONE_LINE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_ONE_LINE |= {code: visible(chr(code)) for code in range(0xD800, 0xE000)}


#: Slots of disabled and parked jobs come again and again; what a job's own commands decide is no trouble.
_SKIPPED_LEVELS = {
    SkipReason.DISABLED: logging.DEBUG,
    SkipReason.PARKED: logging.DEBUG,
    SkipReason.NOT_NOW: logging.INFO,
    SkipReason.ONLY_IF: logging.INFO,
}


def log_record(record: effects.Effect, *, output_path: str = "", timezone: tzinfo = UTC) -> None:
    """Log a record, with slots in `timezone`, if its level is enabled."""
    match record:
        case effects.AttemptFinished():
            log_finished(record, output_path)
        case effects.SlotsSkipped():
            level = _SKIPPED_LEVELS.get(record.reason, logging.WARNING)
            if logger.isEnabledFor(level):
                slots = _slots(record, timezone)
                logger.log(level, "%s: skipped %s (%s): %s", record.job, slots, record.reason, record.detail)
        case effects.RunQueued():
            if logger.isEnabledFor(logging.DEBUG):
                logger.debug("%s: run %s queued (%s)", record.job, record.run, _cause(record, timezone))
        case effects.AttemptBegun():
            if record.is_start:
                logger.debug(
                    "%s: run %s, attempt %d starting",
                    _name(record.job, record.task),
                    record.run,
                    record.attempt,
                )
        case effects.RunFinished():
            _log_run_finished(record)
        case effects.AttemptAdopted():
            name = _name(record.job, record.task)
            logger.info("%s: run %s outlived its supervisor, watching %d", name, record.run, record.pid)
        case effects.AttemptStopped():
            logger.info("%s: run %s is stopped", _name(record.job, record.task), record.run)
        case effects.AttemptContinued():
            length = format_rough(record.stopped_ns)
            name = _name(record.job, record.task)
            logger.info("%s: run %s goes on, after having been stopped for %s", name, record.run, length)
        case _:
            _log_rare(record)


def _log_rare(record: effects.Effect) -> None:
    match record:
        case effects.AttemptStuck():
            name, pid = _name(record.job, record.task), f" {record.pid}" if record.pid else ""
            logger.error("%s: run %s was killed, and its process%s does not end", name, record.run, pid)
        case effects.SurvivorsFound():
            _log_survivors(record)
        case effects.Commanded(kind="parked"):
            logger.error("%s: parked: %s; see taskman why %s", record.job, record.detail, record.job)
        case effects.Commanded(kind="unparked"):
            by = record.detail or f"by {record.by}"
            logger.info("%s: not parked any more: %s", record.job, by)
        case _:
            _log_whole(record)


def _log_survivors(record: effects.SurvivorsFound) -> None:
    name, count = (
        _name(record.job, record.task),
        "1 process" if record.count == 1 else f"{record.count:,} processes",
    )
    which = ", ".join(f"{name} ({pid})" for pid, name in record.named)
    more = ", …" if record.count > len(record.named) else ""
    if record.signum is None:
        logger.error("%s: run %s left %s that cannot be ended: %s%s", name, record.run, count, which, more)
    else:
        logger.warning(
            "%s: run %s left %s, which got %s: %s%s",
            name, record.run, count, _signal_name(record.signum), which, more,
        )  # fmt: skip


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return f"signal {number}"


def _log_run_finished(record: effects.RunFinished) -> None:
    if record.detail:
        logger.warning("%s: run %s %s: %s", record.job, record.run, record.state, record.detail)
    elif record.undone:
        tasks = "" if record.undone == ("main",) else f": {', '.join(record.undone)}"
        logger.info("%s: run %s %s, left undone%s", record.job, record.run, record.state, tasks)
    else:
        logger.debug("%s: run %s %s", record.job, record.run, record.state)


def _log_whole(record: effects.Effect) -> None:
    """Log what concerns no single job."""
    match record:
        case effects.JobsTaken():
            _log_changes(record)
        case effects.SuspendNoted():
            logger.info("the machine slept for %s", format_rough(record.length_ns))
        case effects.SpawnDelayed():
            pause = format_duration(record.pause_ns)
            if record.user:
                words = "cannot start a process as user %s (%s): starts as this user wait %s"
                logger.warning(words, record.user, record.message, pause)
            else:
                logger.warning("cannot start a process (%s): waiting %s", record.message, pause)
        case effects.ClockStepNoted():
            way = "forward" if record.delta_ns > 0 else "back"
            logger.warning("the clock stepped %s by %s", way, format_duration(abs(record.delta_ns)))


def _log_changes(record: effects.JobsTaken) -> None:
    """Name the changes since the last scheduler; not at the first start, when everything is new.

    A reload is always logged, in one line.
    """
    if record.by is not None:
        logger.info("reload (%s): %s", record.by, changes_in_words(record))
        return
    for what in ("added", "changed", "removed"):
        names = getattr(record, what)
        if names and len(names) < record.jobs + len(record.removed):
            named = ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")
            logger.info("%s %s: %s", what, "job" if len(names) == 1 else f"{len(names):,} jobs", named)


def log_finished(record: effects.AttemptFinished, output_path: str) -> None:
    """Log the end of an attempt, the most frequent line."""
    level = _FINISHED_LEVELS[record.state]
    if record.task == GATE and record.state is State.SUCCEEDED:
        level = logging.DEBUG  # its run goes on
    if record.exit and record.exit.output_error:
        level = max(level, logging.WARNING)
    if logger.isEnabledFor(level):
        _say(level, _finished(record, output_path))


def _say(level: int, message: str) -> None:
    """Log a message; as a log record only if something but our own handler may see it."""
    handler = logger.handlers[0] if len(logger.handlers) == 1 else None
    is_seen_elsewhere = logger.filters or (logger.propagate and logging.root.handlers)
    if is_seen_elsewhere or not isinstance(handler, LineHandler) or not handler.put_message(level, message):
        logger.log(level, "%s", message)


_FINISHED_LEVELS = {
    State.SUCCEEDED: logging.INFO,
    State.CANCELLED: logging.INFO,
    State.FAILED: logging.ERROR,
    State.TIMED_OUT: logging.ERROR,
    State.LOST: logging.ERROR,
    State.SKIPPED: logging.DEBUG,  # the skip of its run has a line
}


def _finished(record: effects.AttemptFinished, output_path: str) -> str:
    parts = [f"{_name(record.job, record.task)}: {record.state.replace('_', ' ')}"]
    if record.detail:
        parts.append(f" ({record.detail})")
    if record.duration_ns is not None:
        parts.append(f" after {format_rough(record.duration_ns)}")
    if record.exit and record.exit.cpu_s >= _MIN_CPU_S:
        parts.append(f", {format_rough(round(record.exit.cpu_s * SECOND_NS))} CPU")
        if record.exit.peak_rss_bytes:
            parts.append(f", {format_size(record.exit.peak_rss_bytes)}")
    if record.attempt > 1 or record.retry_in_ns is not None:
        parts.append(f", attempt {record.attempt}")
    if record.retry_in_ns is not None:
        parts.append(f", next in {format_duration(record.retry_in_ns)}")
    if record.exit and record.exit.output_error:
        parts.append(f"; output lost: {record.exit.output_error}")
    elif record.exit and record.exit.output_bytes and record.state is not State.SUCCEEDED and output_path:
        parts.append(f"; output: {output_path}")
    return "".join(parts)


def _name(job: str, task: str) -> str:
    return job if task == "main" else f"{job}.{task}"


def _slots(record: effects.SlotsSkipped, timezone: tzinfo) -> str:
    first = _moment(record.first_ns, timezone)
    if record.count == 1:
        return f"the slot {first}"
    count = f"{record.count:,} slots" if record.count else "slots past counting"
    return f"{count} from {first} to {_moment(record.last_ns, timezone)}"


def _cause(record: effects.RunQueued, timezone: tzinfo) -> str:
    trigger = record.trigger.replace("_", "-")
    return trigger if record.slot_ns is None else f"{trigger} {_moment(record.slot_ns, timezone)}"


def _moment(wall_ns: int, timezone: tzinfo) -> str:
    """Write an instant as ISO 8601, with a fraction only where there is one."""
    return wall_time(wall_ns, timezone).isoformat()
