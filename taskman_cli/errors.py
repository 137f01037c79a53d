"""The tree of errors. A command prints the message and exits with the class's code; nothing else exits.

TaskmanError            1   the thing asked for failed
├── JobFileError        2   a job file that cannot be taken (defined in `jobfile`)
├── ScheduleError       2   an expression that is wrong or can never fire
└── TimespecError       2   a duration or time that cannot be read
"""

from __future__ import annotations


class TaskmanError(Exception):
    """Root of all errors that a user can cause or mend."""

    #: What the process exits with when this error ends a command.
    exit_code = 1

    def render(self) -> str:
        """Return what is printed when this error ends a command."""
        return f"taskman: {self}"


class ScheduleError(TaskmanError):
    """Say what is wrong with a schedule, or why it can never fire."""

    exit_code = 2


class TimespecError(TaskmanError):
    """Say what is wrong with a duration or a time, and where.

    `column` counts from 0 into the text that was given.
    """

    exit_code = 2

    def __init__(self, message: str, *, column: int = 0) -> None:
        super().__init__(message)
        self.column = column
