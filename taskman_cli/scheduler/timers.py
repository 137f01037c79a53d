"""Timers as file descriptors (timerfd_create(2)): exact at any length, and woken by steps of the wall clock.

Timeouts of epoll are rounded to its slack and fire 0.1 % late (30 ms after 30 s); a timerfd is 0.1 ms late at
any length. An absolute timer on the wall clock also becomes readable when the clock is set, so that nothing
has to poll it.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CLOCKS = {"wall": time.CLOCK_REALTIME, "elapsed": time.CLOCK_BOOTTIME}
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_ABSTIME, _CANCEL_ON_SET = 1, 2
_SECOND_NS = 1_000_000_000
#: An armed timer that never fires (some 290 years after 1970), but notices that the clock was set.
_NEVER_NS = 2**63 - _SECOND_NS


class Timer:
    """One absolute timer on the "wall" or the "elapsed" clock."""

    def __init__(self, clock: str) -> None:
        self._flags = _ABSTIME | (_CANCEL_ON_SET if clock == "wall" else 0)
        self._unset_ns = _NEVER_NS if clock == "wall" else 0
        self._due_ns: int | None = None
        self.fd = _create(_CLOCKS[clock], _NONBLOCK_CLOEXEC)
        self._set(self._unset_ns)

    def set(self, due_ns: int | None) -> None:
        """Make the descriptor readable at `due_ns`; None: only when the clock is set."""
        if due_ns != self._due_ns:
            self._due_ns = due_ns
            # A time of 0 would disarm the timer; the kernel counts up to 2262.
            self._set(self._unset_ns if due_ns is None else min(max(1, due_ns), _NEVER_NS))

    def clear(self) -> None:
        """Make the descriptor unreadable after it has fired. It has to be set again."""
        self._due_ns = -1
        with suppress(OSError):  # ECANCELED: the clock was set; EAGAIN: the timer was set again
            os.read(self.fd, 8)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)

    def _set(self, due_ns: int) -> None:
        with suppress(OSError):  # ECANCELED reports a step; the timer is set all the same
            _settime(self.fd, self._flags, due_ns)


@contextmanager
def alarm(after_s: float) -> Iterator[int]:
    """Yield a descriptor that becomes readable after a time, without the machine's sleep."""
    fd = _create(time.CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
    try:
        _settime(fd, 0, max(1, min(int(after_s * _SECOND_NS), _NEVER_NS)))
        yield fd
    finally:
        os.close(fd)


def _from_libc() -> tuple[Callable[[int, int], int], Callable[[int, int, int], None]]:
    """Return timerfd_create and timerfd_settime for a Python before 3.13."""
    import ctypes

    class Itimerspec(ctypes.Structure):
        _fields_ = (
            ("interval_s", ctypes.c_long),
            ("interval_ns", ctypes.c_long),
            ("value_s", ctypes.c_long),
            ("value_ns", ctypes.c_long),
        )

    libc = ctypes.CDLL(None, use_errno=True)

    def check(result: int) -> int:
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    def create(clock: int, flags: int) -> int:
        return check(libc.timerfd_create(clock, flags))

    def settime(fd: int, flags: int, due_ns: int) -> None:
        spec = Itimerspec(0, 0, *divmod(due_ns, _SECOND_NS))
        check(libc.timerfd_settime(fd, flags, ctypes.byref(spec), None))

    return create, settime


def _from_os() -> tuple[Callable[[int, int], int], Callable[[int, int, int], None]]:
    """Return the same functions of the standard library of Python 3.13."""
    os_any: Any = os

    def create(clock: int, flags: int) -> int:
        return int(os_any.timerfd_create(clock, flags=flags))

    def settime(fd: int, flags: int, due_ns: int) -> None:
        os_any.timerfd_settime_ns(fd, flags=flags, initial=due_ns)

    return create, settime


_create, _settime = _from_os() if hasattr(os, "timerfd_create") else _from_libc()
