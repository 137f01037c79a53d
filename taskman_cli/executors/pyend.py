"""How a call of type "python" ended, as its worker tells it: only as honest as the call's user."""

from __future__ import annotations

import os
import signal
import struct
from typing import NamedTuple

from taskman_cli.core.escapes import printable
from taskman_cli.executors.base import Result

_MOST_ERROR = 1000
#: What a worker can tell of itself at the most.
_MOST_BYTES, _MOST_CPU_US = 1 << 60, 10**15
#: As `pyworker` has it; the error and the value come behind it.
_DONE = struct.Struct("!?BBIQQQI")
SHORTEST_END = _DONE.size


class End(NamedTuple):
    """What a worker has told."""

    result: Result
    #: The worker makes no more calls.
    is_last: bool
    #: How long the function has taken.
    took_us: int
    #: The size of the worker.
    rss_bytes: int


def read_end(words: bytes) -> End:
    """Return the end of a call; there are at least SHORTEST_END bytes."""
    is_last, status, number, took_us, cpu_us, peak_bytes, rss_bytes, length = _DONE.unpack_from(words)
    error = words[_DONE.size : _DONE.size + length].decode("utf-8", "replace") if length else ""
    number = number if number <= signal.SIGRTMAX else 0
    result = Result(
        exit_code=None if number else status,
        signal=number or None,
        error=printable(error[:_MOST_ERROR]) if error else "",
        cpu_s=cpu_us / 1e6 if cpu_us < _MOST_CPU_US else 0.0,
        peak_rss_bytes=peak_bytes if peak_bytes <= _MOST_BYTES else 0,
    )
    return End(result, is_last, took_us, min(rss_bytes, _MOST_BYTES))


def value_of(words: bytes) -> bytes:
    """Return what the function has returned, as JSON; b"" for None."""
    return words[_DONE.size + _DONE.unpack_from(words)[7] :]


def broken(status: int, words: str) -> Result:
    """Return the end of a call that has ended its worker."""
    if os.WIFSIGNALED(status):
        return Result(signal=os.WTERMSIG(status), error=words)
    return Result(exit_code=os.WEXITSTATUS(status), error=words)
