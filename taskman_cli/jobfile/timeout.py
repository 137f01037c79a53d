"""Reads in a thread of its own: a file system that does not answer becomes an error like any other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from taskman_cli.jobfile.problems import JobFileError, Problem

T = TypeVar("T")


class ReadTimeout(JobFileError):
    """Say which file did not answer."""


#: One thing may take so long to be looked at, where nobody says otherwise.
READ_TIMEOUT_S = 30.0
#: It is seen so often whether anything is done.
_GLANCE_S = 0.1


def run_with_timeout(read: Callable[[], T], looked_at: Callable[[], Path | None], *, timeout_s: float) -> T:
    """Return what `read` does; raise JobFileError once it has been at one and the same thing for too long.

    `looked_at` tells what that is: a new object for each thing, None while nothing is waited for. The thread
    that waits cannot be ended, and is left behind: whoever catches the error had better end soon.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(read())
        except BaseException as error:  # raised again by who asked
            errors.append(error)

    thread = threading.Thread(target=run, name="job files", daemon=True)
    thread.start()
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
