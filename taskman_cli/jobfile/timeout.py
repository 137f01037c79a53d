"""Reading in a separate thread, so that a hanging file system becomes an ordinary error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from taskman_cli.errors import TaskmanError
from taskman_cli.jobfile.problems import JobFileError, Problem

T = TypeVar("T")


class ReadTimeout(JobFileError):
    """A file could not be read in time."""


class NoThread(TaskmanError):
    """Nothing could be read: there was no thread for it."""


#: How long to wait for a single path by default.
READ_TIMEOUT_S = 30.0
#: How often progress is checked.
_GLANCE_S = 0.1


def run_with_timeout(read: Callable[[], T], looked_at: Callable[[], Path | None], *, timeout_s: float) -> T:
    """Return the result of `read`; raise ReadTimeout if it is stuck at a single path for too long.

    `looked_at` returns the path being read: a new object for each, None between them. The stuck thread cannot
    be ended and is left behind, so the process should end soon after the error. Raises NoThread if none can
    be started.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(read())
        except BaseException as error:  # re-raised in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="job files", daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError):
        words = "the job files cannot be read now: no thread can be started; try again later"
        raise NoThread(words) from None
    before, waited_s = None, 0.0
    while True:
        thread.join(_GLANCE_S)
        if not thread.is_alive():
            break
        now = looked_at()
        waited_s = waited_s + _GLANCE_S if now is not None and now is before else 0.0
        before = now
        if now is not None and waited_s >= timeout_s:
            message = f"cannot be read: no answer within {timeout_s:g} s (does its file system hang?)"
            raise ReadTimeout([Problem(str(now), 1, 1, "", message)])
    for error in errors:
        raise error
    return results[0]
