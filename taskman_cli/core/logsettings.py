"""What the log is like: its form, from which level on, and which parts have a level of their own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LogFormat(StrEnum):
    """The form of log lines."""

    #: Journald's own protocol where standard error leads to it, else text.
    AUTO = "auto"
    TEXT = "text"
    JSON = "json"
    JOURNALD = "journald"


class LogLevel(StrEnum):
    """How much a line matters, from the least on."""

    DEBUG = "debug"
    #: A line a run.
    INFO = "info"
    #: Starts, stops, reloads; the default.
    NOTICE = "notice"
    #: What may need a person.
    WARNING = "warning"
    #: A failure.
    ERROR = "error"
    CRITICAL = "critical"


class LogPart(StrEnum):
    """Who logs: the logger `taskman.PART` of the standard library."""

    #: Its start and stop, errors of its own, the clock, the live view.
    SCHEDULER = "scheduler"
    #: What becomes of slots, runs and attempts.
    RUNS = "runs"
    #: The job files: reading, watching, taking them.
    JOBS = "jobs"
    LEDGER = "ledger"
    #: The control socket.
    CONTROL = "control"
    #: The parent of all commands.
    SUPERVISOR = "supervisor"
    SINKS = "sinks"
    METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class LogConfig:
    """A configuration of the standard library's `logging`, which takes the place of all that is here."""

    #: The file that it is from.
    path: str
    #: What `logging.config.dictConfig` takes, as JSON.
    text: str
    #: The lines of its tables, by dotted name.
    lines: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The table `[logging]`."""

    format: LogFormat = LogFormat.AUTO
    #: None: what is usual for where the lines go.
    level: LogLevel | None = None
    #: The levels of parts that have their own, in the order of the parts' names.
    levels: tuple[tuple[LogPart, LogLevel], ...] = ()
    config: LogConfig | None = None


#: Without a table `[logging]`.
USUAL = LogSettings()
