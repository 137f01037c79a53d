"""The tree of errors and all exit codes. A command prints the message and exits with the error's code.

TaskmanError            1   the thing asked for failed
├── JobFileError        2   a job file that cannot be taken (defined in `jobfile`)
├── ControlError        *   what the scheduler answered, with the exit code that it gave
├── InstanceError       2   a name that no instance can have, or two places for one state
├── NoScheduler         3   nobody runs with that state directory
│   ├── SchedulerGone   3   it went away before it had answered
│   └── NoAnswer        3   it is there, stopped or stuck
├── NotFound            4   no such job, task, run or attempt
├── ScheduleError       2   an expression that is wrong or can never fire
└── TimespecError       2   a duration or time that cannot be read
"""

from __future__ import annotations

#: The thing asked for failed.
EXIT_FAILED = 1
#: Wrong usage, or a job file with errors.
EXIT_USAGE = 2
#: No scheduler runs there, or it does not answer.
EXIT_NO_SCHEDULER = 3
#: There is no such job, task, run or attempt.
EXIT_NOT_FOUND = 4
#: The scheduler died of an error of its own (EX_SOFTWARE in sysexits.h).
EXIT_BROKEN = 70
#: The time to wait was over; timeout(1) has the same code.
EXIT_TIMED_OUT = 124
#: As a shell reports them: the command cannot be executed, or was not found.
EXIT_NOT_EXECUTABLE, EXIT_COMMAND_NOT_FOUND = 126, 127
#: As a shell reports it: ended by SIGINT. Also of a scheduler told not to wait for its commands.
EXIT_INTERRUPTED = 130
#: As a shell reports it: ended by SIGPIPE.
EXIT_BROKEN_PIPE = 141


class TaskmanError(Exception):
    """Root of all errors that a user can cause or fix."""

    #: What the process exits with when this error ends a command.
    exit_code = EXIT_FAILED

    def render(self) -> str:
        """Return what is printed when this error ends a command."""
        return f"taskman: {self}"


class ScheduleError(TaskmanError):
    """Say what is wrong with a schedule, or why it can never fire.

    `field` and `item` are what it is about, where one field of a cron expression is to blame.
    """

    exit_code = EXIT_USAGE

    def __init__(self, message: str, *, field: str = "", item: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.item = item


class TimespecError(TaskmanError):
    """Say what is wrong with a duration or a time, and where.

    `column` counts from 0 into the text that was given.
    """

    exit_code = EXIT_USAGE

    def __init__(self, message: str, *, column: int = 0) -> None:
        super().__init__(message)
        self.column = column


class InstanceError(TaskmanError):
    """Say why no state directory comes of a name."""

    exit_code = EXIT_USAGE


class NoScheduler(TaskmanError):
    """Say that no scheduler is there to be asked."""

    exit_code = EXIT_NO_SCHEDULER


class SchedulerGone(NoScheduler):
    """Say that a scheduler went away while it was asked, or waited for."""


class NoAnswer(NoScheduler):
    """Say that a scheduler is there and does not answer, and why."""


class ControlError(TaskmanError):
    """Say what the running scheduler said: an error has no other exit code than the one it gave."""

    def __init__(self, message: str, *, exit_code: int = EXIT_FAILED, report: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        #: What is wrong with the job files, to be printed as it stands; "" if nothing is.
        self.report = report

    def render(self) -> str:
        """Return the report, if there is one, above the message."""
        return f"{self.report.rstrip()}\n{super().render()}" if self.report else super().render()


class NotFound(TaskmanError):
    """Say what there is not, and what was probably meant."""

    exit_code = EXIT_NOT_FOUND
