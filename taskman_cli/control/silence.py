"""Why a process does not answer: its state, as the kernel has it, in words, and what to do about it."""

from __future__ import annotations

import os
from pathlib import Path

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
    return _fields(pid)[0]


def is_starting(pid: int) -> bool:
    """Tell if a process is at work and so young that it may be at its start still."""
    state, *others = _fields(pid)
    if state != "R" or len(others) < 19:
        return False
    age_s = float(Path("/proc/uptime").read_text().split()[0]) - int(others[18]) / os.sysconf("SC_CLK_TCK")
    return age_s < _YOUNG_S


def in_words(pid: int, *, what: str = "scheduler") -> str:
    """Say which process it is, in what state, and what to do."""
    state = state_of(pid)
    if not state:
        return f"the {what} (process {pid}) cannot be seen from here, or is gone"
    words = _DEEDS.get(state, _OTHER).format(pid=pid)
    return f"the {what} (process {pid}, state {state}) {words}"


def _fields(pid: int) -> list[str]:
    """Return what proc(5) tells of a process from its state on."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return [""]
    return stat.rpartition(b")")[2].decode().split()
