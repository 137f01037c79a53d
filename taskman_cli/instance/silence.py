"""Why a process does not answer: its state, as the kernel has it, in words, and what to do about it."""

from __future__ import annotations

from pathlib import Path

from taskman_cli.supervisor.procstat import read_stat

#: It does nothing until somebody lets it go on, or never again.
STOPPED = frozenset("TtZX")
#: A scheduler that is younger may be busy with its start.
_YOUNG_S = 60.0

_DEEDS = {
    "T": "is stopped: kill -CONT {pid} lets it go on",
    "t": "is held by a debugger: end that, or let it go on from there",
    "D": "waits in the kernel, mostly for a disk or a file system on the network: bring that back",
    "Z": "has ended, and its parent does not take note of that",
    "X": "has ended",
}
_OTHER = "does not answer, busy or stuck: taskman restart puts another in its place, and commands go on"


def state_of(pid: int) -> str:
    """Return the letter of a process's state, as ps(1) has it; "" where there is none that we can see."""
    try:
        return read_stat(pid).state
    except OSError:
        return ""


def is_starting(pid: int) -> bool:
    """Tell if a process is at work and so young that it may be at its start still."""
    try:
        stat = read_stat(pid)
        if stat.state != "R":
            return False
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
        return uptime_s - stat.started_ns / 1e9 < _YOUNG_S
    except (OSError, IndexError):
        return False


def in_words(pid: int, *, what: str = "scheduler") -> str:
    """Say which process it is, in what state, and what to do."""
    state = state_of(pid)
    if not state:
        return f"the {what} (process {pid}) cannot be seen from here, or is gone"
    words = _DEEDS.get(state, _OTHER).format(pid=pid)
    return f"the {what} (process {pid}, state {state}) {words}"
