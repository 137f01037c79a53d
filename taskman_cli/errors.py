"""The tree of errors and all exit codes. A command prints the message and exits with the error's code.

TaskmanError                    1   the request failed
├── JobFileError                2   an invalid job file (defined in `jobfile`)
├── Refused                     *   the scheduler does not do what a request asks for
├── ControlError                *   an error from the scheduler, which chose the exit code
├── InstanceError               2   an invalid name of an instance, or two state directories
├── NoScheduler                 3   no scheduler runs with that state directory
│   ├── SchedulerGone           3   it exited before it answered
│   └── SchedulerUnresponsive   3   it runs, but is stopped or stuck
├── NotFound                    4   no such job, task, run or attempt
├── ScheduleError               2   an invalid expression, or one that never fires
└── TimespecError               2   an invalid duration or time
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
    """A schedule that is invalid or never fires.

    `field` and `item` name the faulty part, if it is one field of a cron expression.
    """

    exit_code = EXIT_USAGE

    def __init__(self, message: str, *, field: str = "", item: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.item = item


class TimespecError(TaskmanError):
    """An invalid duration or time; `column` is where, counted from 0."""

    exit_code = EXIT_USAGE

    def __init__(self, message: str, *, column: int = 0) -> None:
        super().__init__(message)
        self.column = column


class InstanceError(TaskmanError):
    """No state directory can be chosen, or not one alone."""

    exit_code = EXIT_USAGE


class NoScheduler(TaskmanError):
    """No scheduler runs that could answer."""

    exit_code = EXIT_NO_SCHEDULER


class SchedulerGone(NoScheduler):
    """The scheduler exited while a command waited for it."""


class SchedulerUnresponsive(NoScheduler):
    """The scheduler runs but does not answer."""


class Refused(TaskmanError):
    """The scheduler does not do what a request asks for.

    Raised where that is found out, before anything has changed. The engine and the handlers of requests
    catch it in one place each, and answer with its message and exit code.
    """

    def __init__(self, message: str, code: int = EXIT_FAILED, *, may_repeat: bool = False) -> None:
        """`may_repeat`: the client may ask for the same once more, at once."""
        super().__init__(message)
        self.exit_code = code
        self.may_repeat = may_repeat


class ControlError(TaskmanError):
    """An error that the running scheduler returned, with its exit code."""

    def __init__(self, message: str, *, exit_code: int = EXIT_FAILED, report: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        #: The errors of the job files, to be printed as they are; "" if there are none.
        self.report = report

    def render(self) -> str:
        """Return the report, if there is one, above the message."""
        return f"{self.report.rstrip()}\n{super().render()}" if self.report else super().render()


class NotFound(TaskmanError):
    """No job, task, run or attempt has the given name."""

    exit_code = EXIT_NOT_FOUND
