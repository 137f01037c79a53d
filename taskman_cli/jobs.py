"""Jobs in Python: `@job` marks a function as one, and `current()` tells a running one about itself.

This module needs Python 3.8 and the standard library only. Where taskman runs a function, in the job's own
interpreter, it brings this module along, so that taskman need not be installed there.
"""

from __future__ import annotations

import datetime
import sys
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Mapping, TypeVar, overload  # noqa: UP035

    Function = TypeVar("Function", bound=Callable[..., Any])

__all__ = ["Cancelled", "Context", "current", "defaults", "executor", "job"]


class Cancelled(BaseException):
    """Raised in a call that is asked to end and never asks `current().cancelled()`.

    Not an Exception, so that `except Exception` does not keep a cancelled call alive.
    """


class Context:
    """What a running call can know."""

    def __init__(self, told: Mapping[str, Any], report: Callable[[float | None, str], None]) -> None:
        self.job: str = told["job"]
        self.task: str = told["task"]
        self.run: str = told["run"]
        #: 1 for the first; a retry is the next.
        self.attempt: int = told["attempt"]
        #: The variables that the job sets, and those given to `taskman trigger`.
        self.parameters: dict[str, str] = dict(told["parameters"])
        #: When its `timeout` is over; None: there is none.
        self.deadline: datetime.datetime | None = None
        if told["deadline_ns"] is not None:
            with suppress(OverflowError, ValueError, OSError):  # beyond the calendar
                seconds = told["deadline_ns"] / 1e9
                self.deadline = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)  # noqa: UP017
        self._report = report
        self._is_cancelled = False
        self._has_asked = False

    def cancelled(self) -> bool:
        """Tell if the call should end. One that asks is not broken off: it has until `kill_timeout`."""
        self._has_asked = True
        return self._is_cancelled

    def remaining_s(self) -> float | None:
        """Return how many seconds are left until the deadline, 0 at the least; None: there is none."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline.timestamp() - time.time())  # noqa: TID251 - the job's own clock

    def progress(self, part: float | None = None, words: str = "") -> None:
        """Show how far the call is: a part of 1, or None if that is not known, and in words."""
        if part is not None:
            part = min(1.0, max(0.0, float(part)))
        self._report(part, str(words))


_current: Context | None = None


def current() -> Context:
    """Return the context of the running call.

    Outside of taskman, as in a test, it has no deadline, and progress goes nowhere.
    """
    if _current is not None:
        return _current
    told = {"job": "", "task": "", "run": "", "attempt": 1, "parameters": {}, "deadline_ns": None}
    return Context(told, lambda part, words: None)


#: What `@job` and the like have said, in order; taskman reads it after the import.
_said: list[dict[str, Any]] = []

if TYPE_CHECKING:

    @overload
    def job(function: Function) -> Function: ...
    @overload
    def job(**keys: Any) -> Callable[[Function], Function]: ...


def job(function: Any = None, **keys: Any) -> Any:
    """Make a function a job; the keys are those of a job file, as in `@job(every="5m", timeout="1h")`.

    `name` is the job's name, by default the function's with "-" for "_". The function itself is unchanged.
    """
    line = _caller_line()

    def mark(marked: Any) -> Any:
        if not callable(marked):
            raise TypeError('@job takes keys by name, as in @job(every="5m")')
        _said.append({"what": "job", "line": line, "keys": keys, "function": marked})
        return marked

    return mark if function is None else mark(function)


def defaults(**keys: Any) -> None:
    """Set defaults of all jobs of the file, as `[defaults]` of a job file does."""
    _said.append({"what": "defaults", "line": _caller_line(), "keys": keys})


def executor(**keys: Any) -> None:
    """Set how the functions of the file are run: `max_calls`, `max_memory`, `max_workers` and so on."""
    _said.append({"what": "executor", "line": _caller_line(), "keys": keys})


def _caller_line() -> int:
    """Return the line in the user's file from which a function of this module was called."""
    return sys._getframe(2).f_lineno
