"""Why a process does not answer: its state as the kernel reports it, and what to do about it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from taskman_cli.supervisor.procstat import read_stat

#: States in which a process does nothing until it is continued, or never again.
STOPPED = frozenset("TtZX")
#: A younger scheduler may still be starting.
_YOUNG_S = 60.0
#: How a scheduler is called by its supervisor, now and by version 0.1; what that forks is called as it is.
_MODULES, _SUPERVISOR = {b"taskman_cli.scheduler", b"taskman_cli.daemon"}, b"taskman_cli.supervisor"

_DEEDS = {
    "T": "is stopped: continue it with kill -CONT {pid}",
    "t": "is stopped by a debugger: continue it there, or detach the debugger",
    "D": "waits in the kernel, usually for a disk or a network file system that does not answer",
    "Z": "has ended, but its parent has not reaped it",
    "X": "has ended",
}
_OTHER = "does not answer: it is busy or stuck. `taskman restart` replaces it, and commands go on"


def state_of(pid: int) -> str:
    """Return the letter of a process's state, as ps(1) has it; "" if it cannot be seen."""
    try:
        return read_stat(pid).state
    except OSError:
        return ""


def is_starting(pid: int) -> bool:
    """Tell if a process is running and so young that it may still be starting."""
    try:
        stat = read_stat(pid)
        if stat.state != "R":
            return False
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
        return uptime_s - stat.started_ns / 1e9 < _YOUNG_S
    except (OSError, IndexError):
        return False


def in_words(pid: int, *, what: str = "scheduler") -> str:
    """Say which process it is, its state, and what to do."""
    state = state_of(pid)
    if not state:
        return f"the {what} (process {pid}) has ended or cannot be seen from here"
    words = _DEEDS.get(state, _OTHER).format(pid=pid)
    return f"the {what} (process {pid}, state {state}) {words}"


def disk_trouble(directory: Path) -> str:
    """Return what is wrong with the disk of a state directory, in words to be added; "": nothing is known."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return ""
    if found.f_flag & os.ST_RDONLY:
        return f"; the file system of {directory} is read-only"
    blocks, files = (found.f_bavail, found.f_favail) if os.geteuid() else (found.f_bfree, found.f_ffree)
    # One that does not count has none at all, and is not full.
    is_full = (found.f_blocks and not blocks) or (found.f_files and not files)
    return f"; the disk of {directory} is full" if is_full else ""


def scheduler_of(supervisor: int) -> int | None:
    """Return the process of the scheduler that a supervisor has started; None: there is none to be seen."""
    for child in _children(supervisor):
        with suppress(OSError):
            argv = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if not _MODULES.isdisjoint(argv) and _SUPERVISOR not in argv:
                return child
    return None


def _children(pid: int) -> list[int]:
    try:
        return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_bytes().split())]
    except OSError:
        return []


def spent_ticks(pid: int) -> int:
    """Return how much CPU time a process has had, with its children: one may read job files for it."""
    ticks = 0
    for process in (pid, *_children(pid)):
        with suppress(OSError, IndexError):
            ticks += read_stat(process).spent_ticks
    return ticks
