"""What processes use, from proc(5): read where the text is made, so that it costs the scheduler nothing."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Places in /proc/PID/stat after the name of the command: utime, stime, starttime, vsize, rss.
_UTIME, _STIME, _STARTTIME, _VSIZE, _RSS = 11, 12, 19, 20, 21


class ProcessUse(NamedTuple):
    """What one process has used, and holds."""

    cpu_s: float
    resident_bytes: int
    virtual_bytes: int
    open_fds: int
    #: When it was started, in seconds since 1970.
    started_s: float


def uses_of(pids: Mapping[str, int]) -> dict[str, ProcessUse]:
    """Return what each process uses, without those that cannot be read."""
    found = {}
    for name, pid in pids.items():
        with suppress(OSError, ValueError, IndexError):
            found[name] = _use_of(Path("/proc") / str(pid))
    return found


def _use_of(directory: Path) -> ProcessUse:
    # The name of the command, in brackets, may hold anything.
    fields = (directory / "stat").read_bytes().rpartition(b")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    cpu_s = (int(fields[_UTIME]) + int(fields[_STIME])) / ticks
    resident_bytes = int(fields[_RSS]) * os.sysconf("SC_PAGE_SIZE")
    started_s = _boot_s() + int(fields[_STARTTIME]) / ticks
    open_fds = len(os.listdir(directory / "fd"))  # noqa: PTH208 - only how many
    return ProcessUse(cpu_s, resident_bytes, int(fields[_VSIZE]), open_fds, started_s)


def _boot_s() -> int:
    for line in Path("/proc/stat").read_bytes().splitlines():
        if line.startswith(b"btime "):
            return int(line.split()[1])
    raise ValueError("no btime in /proc/stat")
